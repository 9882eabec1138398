"""Scores of attendees: one, or a registration list at once."""

import asyncio
from typing import Annotated, Any

import strawberry
from strawberry.utils.str_converters import to_camel_case

from db.models.accounts import Role
from ml.attendance.spec import ATTENDANCE_SPEC
from ml.attendance.spec import KEY as ATTENDANCE_KEY
from ml.features import check_features
from schema.attendance import AttendeeInput, AttendeeScore, payload_of
from schema.edge.arguments import described
from schema.edge.context import Context, Info
from schema.edge.faults import BadUserInput
from schema.edge.fields import PUBLIC, Rate, query

MOST_ROWS = 500


def checked(attendee: Any, *place: str) -> dict[str, Any]:
    """The features of one attendee. Raises BadUserInput naming the first that is wrong."""
    payload = payload_of(attendee)
    for problem in check_features(ATTENDANCE_SPEC, payload):
        path = [*place, to_camel_case(problem.feature)]
        raise BadUserInput(f"{'.'.join(path)}: {problem.message}", path, reason=problem.code.value)
    return payload


def scored(context: Context, attendees: list[Any]) -> list[AttendeeScore]:
    """In their order. Raises BadUserInput naming the first row that is wrong."""
    payloads = [checked(one, "inputs", str(row)) for row, one in enumerate(attendees)]
    scorer = context.services.models.scorer(ATTENDANCE_KEY)
    threshold = context.policy.attendee_threshold
    return [
        AttendeeScore.of(scorer, payload, float(probability), threshold)
        for payload, probability in zip(payloads, scorer.score(payloads), strict=True)
    ]


@strawberry.type
class AttendanceQuery:
    @query(
        access=PUBLIC,
        rate=Rate(60, 60),
        cost=5,
        description="Will this person come? Pure; nothing is stored. explain is null unless the "
        "caller is MERCHANT or ADMIN.",
    )
    async def score(
        self,
        info: Info,
        input: Annotated[AttendeeInput, described("The attendee.")],
    ) -> AttendeeScore:
        context = info.context
        payload = checked(input, "input")
        scorer = context.services.models.scorer(ATTENDANCE_KEY)
        return AttendeeScore.of(
            scorer, payload, scorer.score_one(payload), context.policy.attendee_threshold
        )

    @query(
        access=Role.MERCHANT,
        cost=50,
        description="A whole registration list at once, 1-500 rows, same order.",
    )
    async def scores(
        self,
        info: Info,
        inputs: Annotated[list[AttendeeInput], described("The attendees, 1 to 500.")],
    ) -> list[AttendeeScore]:
        if not 1 <= len(inputs) <= MOST_ROWS:
            message = f"inputs must have 1 to {MOST_ROWS} rows, got {len(inputs)}"
            raise BadUserInput(message, ["inputs"])
        # Tens of milliseconds: in a thread, so that other requests go on meanwhile.
        return await asyncio.to_thread(scored, info.context, inputs)
