"""What a newcomer finds: accounts, and a market with promos that go live before their eyes.

Dates are relative to the moment of loading. Loading again adds what is missing: of the promos, only
where none is running or to come.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import typer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from commands.accounts import ensure_account
from commands.operator import now, open_database, settings_with_logs
from db.models import Profile, Promo, Store, StoreProduct
from db.models.accounts import Role
from db.models.promos import AdmissionMode, PromoStatus
from db.queries.accounts import local_user_by_login
from db.session import Database
from db.transactions.accounts import update_profile
from db.transactions.catalogue import create_product, create_store
from db.transactions.promos import Editor, create_promo
from db.transactions.store_products import create_store_product
from settings import Settings

DEMO_ACCOUNTS = (
    ("demo", "demo@example.com", "demo-1234", Role.USER),
    ("merchant", "merchant@example.com", "merchant-1234", Role.MERCHANT),
    ("admin", "admin@example.com", "admin-1234", Role.ADMIN),
)
HOME = (4.6010, -74.0700)
"""Of the demo user: latitude and longitude, in Bogota."""


@dataclass(frozen=True)
class Offer:
    """A store with one product, and the promo that sells from it."""

    store: str
    place: tuple[float, float]
    product: str
    description: str
    price: str
    units: int
    starts_in: timedelta
    lasts: timedelta
    terms: dict[str, Any]


OFFERS = (
    Offer(
        "Tostadora La Candelaria",
        (4.5966, -74.0721),  # half a kilometre from the demo user
        "Coffee of the day, 250 g",
        "Roasted this morning.",
        "28000.00",
        20,
        timedelta(seconds=20),
        timedelta(hours=2),
        {"discount_percent": Decimal(30), "max_per_user": 4},
    ),
    Offer(
        "Teatro de la Calle 10",
        (4.5970, -74.0745),
        "Ticket for tonight",
        "Front rows. Who asks is scored: whoever will probably come is served first.",
        "60000.00",
        10,
        timedelta(seconds=30),
        timedelta(hours=3),
        {
            "quota": 6,
            "max_per_user": 2,
            "admission_mode": AdmissionMode.SCORED,
            "admit_above": 0.6,
            "deny_below": 0.0,
        },
    ),
    Offer(
        "Panaderia del Norte",
        (4.6900, -74.0500),  # ten kilometres away: listed with the reason why not
        "Bread of yesterday",
        "As good as new, for half the price.",
        "6000.00",
        40,
        timedelta(seconds=25),
        timedelta(hours=2),
        {"discount_percent": Decimal(50)},
    ),
)


def init_db() -> None:
    """Load the demo data (SEED_DEMO_DATA): accounts, a market. Adds nothing that is there."""
    settings = settings_with_logs()
    if not settings.seed_demo_data:
        typer.echo("SEED_DEMO_DATA is off: nothing was loaded.")
        return
    if settings.production:
        raise SystemExit("Demo accounts have known passwords: refused when APP_ENV=prod.")
    accounts, promos = asyncio.run(_load(settings))
    typer.echo(f"{accounts} demo accounts made, {len(DEMO_ACCOUNTS) - accounts} were there.")
    typer.echo(f"{promos} demo promos made, {len(OFFERS) - promos} were there.")


async def _load(settings: Settings) -> tuple[int, int]:
    accounts = await _make_missing_accounts(settings)
    async with open_database(settings) as database:
        people = await _people(database)
        async with database.transaction() as session:
            await _settle(session, people["demo"])
            promos = [
                await _offer(session, offer, people["merchant"], settings) for offer in OFFERS
            ]
    return accounts, sum(promos)


async def _make_missing_accounts(settings: Settings) -> int:
    made = 0
    for username, email, password, role in DEMO_ACCOUNTS:
        async with open_database(settings) as database, database.read() as reader:
            known = await local_user_by_login(reader, email)
        if known is None:
            await ensure_account(settings, username, email, password, role)
            made += 1
    return made


async def _people(database: Database) -> dict[str, UUID]:
    people = {}
    async with database.read() as reader:
        for username, email, _, _ in DEMO_ACCOUNTS:
            row = await local_user_by_login(reader, email)
            if row is None:
                raise LookupError(f"the account {email} was just made")
            people[username] = row.id
    return people


async def _settle(session: AsyncSession, user_id: UUID) -> None:
    """Puts the demo user near the stores, unless they have moved somewhere themselves."""
    lives = await session.scalar(select(Profile.geom).where(Profile.user_id == user_id))
    if lives is None:
        await update_profile(session, user_id, now=now(), location=HOME)


async def _offer(session: AsyncSession, offer: Offer, owner_id: UUID, settings: Settings) -> bool:
    """Whether a promo was made: there was none that runs or is to come."""
    moment = now()
    stock_id = await _stock_of(session, offer, owner_id)
    if stock_id is None:
        stock_id = await _open_store(session, offer, owner_id, settings.time_zone, moment)
    to_come = await session.scalar(
        select(Promo.id)
        .where(
            Promo.store_product_id == stock_id,
            Promo.status.in_((PromoStatus.SCHEDULED, PromoStatus.ACTIVE)),
            Promo.ends_at > moment,
        )
        .limit(1)
    )
    if to_come is not None:
        return False
    starts_at = moment + offer.starts_in
    terms = {
        "store_product_id": stock_id,
        "starts_at": starts_at,
        "ends_at": starts_at + offer.lasts,
        **offer.terms,
    }
    editor = Editor(owner_id, is_admin=False)
    hold_seconds = settings.promo_hold_seconds
    await create_promo(session, terms, editor=editor, hold_seconds=hold_seconds, now=moment)
    return True


async def _stock_of(session: AsyncSession, offer: Offer, owner_id: UUID) -> int | None:
    return (
        await session.execute(
            select(StoreProduct.id)
            .join(Store, Store.id == StoreProduct.store_id)
            .where(Store.owner_id == owner_id, Store.name == offer.store)
            .order_by(StoreProduct.id)
            .limit(1)
        )
    ).scalar_one_or_none()


async def _open_store(
    session: AsyncSession, offer: Offer, owner_id: UUID, time_zone: str, moment: datetime
) -> int:
    store = await create_store(
        session,
        owner_id=owner_id,
        values={"name": offer.store, "location": offer.place},
        time_zone=time_zone,
        now=moment,
    )
    product = await create_product(
        session,
        owner_id=owner_id,
        values={"name": offer.product, "description": offer.description},
        now=moment,
    )
    stock = await create_store_product(
        session,
        by=owner_id,
        is_admin=False,
        values={
            "store_id": store.id,
            "product_id": product.id,
            "on_hand": offer.units,
            "base_price": Decimal(offer.price),
        },
        now=moment,
    )
    return stock.id


def demo_accounts() -> None:
    """Print the demo accounts, in development."""
    settings = settings_with_logs()
    if settings.production or not settings.seed_demo_data:
        return
    for username, _, password, role in DEMO_ACCOUNTS:
        typer.echo(f"  {role:<9} {username:<9} password {password}")


COMMANDS = {"init-db": init_db, "demo-accounts": demo_accounts}
