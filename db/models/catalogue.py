"""What can be sold: products, stores, and how much of which product a store has."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from geoalchemy2 import Geography
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from db.models.metadata import Table


class Product(Table):
    """`owner_id` made it, and only they or an ADMIN change it. NULL: only an ADMIN does."""

    __tablename__ = "products"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    owner_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str]
    description: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (CheckConstraint("name <> ''", name="name"),)


class Store(Table):
    __tablename__ = "stores"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str]
    geom: Mapped[Any] = mapped_column(Geography("POINT", srid=4326, spatial_index=False))
    time_zone: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        CheckConstraint("name <> ''", name="name"),
        Index("stores_geom_idx", "geom", postgresql_using="gist"),
    )


class StoreProduct(Table):
    """`held` counts the units of open holds; only the triggers on `reservations` move it."""

    __tablename__ = "store_products"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    store_id: Mapped[int] = mapped_column(ForeignKey("stores.id"))
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"), index=True)
    on_hand: Mapped[int]
    held: Mapped[int] = mapped_column(server_default=text("0"))
    base_price: Mapped[Decimal]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        UniqueConstraint("store_id", "product_id"),
        CheckConstraint("0 <= held AND held <= on_hand", name="stock_not_oversold"),
        CheckConstraint("base_price >= 0", name="base_price"),
    )


class StockAdjustment(Table):
    """Why `on_hand` changed other than by a sale; append-only."""

    __tablename__ = "stock_adjustments"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    store_product_id: Mapped[int] = mapped_column(
        ForeignKey("store_products.id", ondelete="CASCADE"), index=True
    )
    by_user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    delta: Mapped[int]
    reason: Mapped[str | None]
    at: Mapped[datetime]
