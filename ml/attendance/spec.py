"""The inputs of the attendance model: who asks for tickets, and what is known of them."""

from ml.features import Direction, Feature, FeatureType, FeatureValue, Format, Spec, check_spec

KEY = "attendance"
LABEL = "attended"
TIME_COLUMN = "observed_at"

_FLOAT, _INT, _STRING = FeatureType.FLOAT, FeatureType.INT, FeatureType.STRING


def _count(name: str, description: str, direction: Direction = Direction.ANY) -> Feature:
    return Feature(
        name,
        _INT,
        minimum=0,
        actionable=direction is not Direction.ANY,
        direction=direction,
        description=description,
    )


def _amount(name: str, description: str) -> Feature:
    return Feature(name, _FLOAT, minimum=0, description=description)


def _share(name: str, description: str, direction: Direction = Direction.ANY) -> Feature:
    return Feature(
        name,
        _FLOAT,
        minimum=0,
        maximum=1,
        actionable=direction is not Direction.ANY,
        direction=direction,
        description=description,
    )


ATTENDANCE_SPEC: Spec = check_spec(
    [
        Feature(
            "email",
            _STRING,
            format=Format.EMAIL,
            description="E-mail address of the account. The model sees the number of digits before "
            "the @ and whether the domain gives out throw-away addresses, not the name.",
        ),
        Feature(
            "age",
            _INT,
            minimum=0,
            maximum=120,
            modelled=False,
            description="Age in years, 0 to 120. Checked, and never used to decide.",
        ),
        Feature(
            "country",
            _STRING,
            format=Format.COUNTRY,
            modelled=False,
            description="Country of residence as its two-letter ISO 3166-1 code, such as CL. "
            "Checked, and never used to decide.",
        ),
        Feature(
            "city",
            _STRING,
            modelled=False,
            description="City of residence. Checked, and never used to decide.",
        ),
        _count("account_age_days", "Days since the account was opened."),
        _count("purchases_last_12_months", "Orders paid in the last 12 months."),
        _count("canceled_orders", "Orders this account cancelled, ever.", Direction.DOWN),
        _amount("tickets_per_order_avg", "Tickets in an order on average; 0 without orders."),
        _amount("distance_to_venue_km", "Kilometres from home to the venue, as the crow flies."),
        _share("payment_failures_ratio", "Share of payments that failed, 0 to 1.", Direction.DOWN),
        _share(
            "event_affinity_score",
            "How well the event fits what this person went to before, 0 to 1.",
        ),
        _share("night_purchase_ratio", "Share of orders placed between 0:00 and 6:00, 0 to 1."),
        _count(
            "resale_reports_count", "Times that tickets of this account were reported as resold."
        ),
        _share(
            "attendance_rate",
            "Share of the tickets bought earlier that were used at the door, 0 to 1.",
            Direction.UP,
        ),
    ]
)

EXAMPLE_ATTENDEE: dict[str, FeatureValue] = {
    "email": "maria.perez@example.com",
    "age": 29,
    "country": "CL",
    "city": "Santiago",
    "account_age_days": 820,
    "purchases_last_12_months": 6,
    "canceled_orders": 0,
    "tickets_per_order_avg": 2.0,
    "distance_to_venue_km": 7.5,
    "payment_failures_ratio": 0.02,
    "event_affinity_score": 0.81,
    "night_purchase_ratio": 0.15,
    "resale_reports_count": 0,
    "attendance_rate": 0.92,
}
"""A plausible fan: labelled an attendee by any sound model."""
