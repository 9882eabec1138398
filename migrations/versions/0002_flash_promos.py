"""Catalogue, flash promos, holds, waitlists, notifications, kept predictions.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geography
from sqlalchemy.dialects import postgresql
revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


PLACE_OF_PROMOS = (
    """
    CREATE FUNCTION place_promo() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        SELECT stores.geom INTO NEW.geom
        FROM store_products JOIN stores ON stores.id = store_products.store_id
        WHERE store_products.id = NEW.store_product_id
        -- a store that is being moved: wait for where it lands
        FOR SHARE OF stores;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER flash_promos_place BEFORE INSERT OR UPDATE OF store_product_id ON flash_promos
    FOR EACH ROW EXECUTE FUNCTION place_promo()
    """,
    """
    CREATE FUNCTION move_promos() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE flash_promos SET geom = NEW.geom
        FROM store_products
        WHERE store_products.store_id = NEW.id
          AND flash_promos.store_product_id = store_products.id;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER stores_move_promos AFTER UPDATE OF geom ON stores
    FOR EACH ROW WHEN (OLD.geom::geometry IS DISTINCT FROM NEW.geom::geometry)
    EXECUTE FUNCTION move_promos()
    """,
)
"""A promo lies where its store lies."""

RULES_OF_HOLDS = (
    """
    CREATE FUNCTION count_new_holds() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        -- The clock is read here, after the caller's locks: a wait for them counts.
        IF EXISTS (
            SELECT FROM added JOIN flash_promos promo ON promo.id = added.promo_id
            WHERE added.status <> 'HELD' OR promo.status <> 'ACTIVE'
               OR clock_timestamp() NOT BETWEEN promo.starts_at AND promo.ends_at
               OR added.expires_at > clock_timestamp() + promo.hold_seconds * interval '1 second'
        ) THEN
            RAISE EXCEPTION 'a hold outside the promo''s schedule' USING ERRCODE = 'HL010';
        END IF;
        UPDATE flash_promos promo SET taken = promo.taken + sums.units
        FROM (SELECT promo_id, sum(quantity) AS units FROM added GROUP BY promo_id) sums
        WHERE promo.id = sums.promo_id;
        UPDATE store_products stock SET held = stock.held + sums.units
        FROM (
            SELECT store_product_id, sum(quantity) AS units FROM added GROUP BY store_product_id
        ) sums
        WHERE stock.id = sums.store_product_id;
        INSERT INTO promo_user_counts AS counts (promo_id, user_id, taken, max_per_user)
        SELECT added.promo_id, added.user_id, sum(added.quantity), promo.max_per_user
        FROM added JOIN flash_promos promo ON promo.id = added.promo_id
        GROUP BY added.promo_id, added.user_id, promo.max_per_user
        ON CONFLICT (promo_id, user_id) DO UPDATE
        SET taken = counts.taken + excluded.taken, max_per_user = excluded.max_per_user;
        -- Whoever holds units waits no longer; an offer then says so of its own entry.
        UPDATE waitlist_entries entry SET status = 'CONVERTED', closed_at = clock_timestamp()
        FROM added
        WHERE entry.promo_id = added.promo_id AND entry.user_id = added.user_id
          AND entry.status = 'WAITING';
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER reservations_count_new AFTER INSERT ON reservations
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION count_new_holds()
    """,
    """
    CREATE FUNCTION count_closed_holds() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (
            SELECT FROM after WHERE status = 'CONFIRMED' AND expires_at <= clock_timestamp()
        ) THEN
            RAISE EXCEPTION 'the hold has expired' USING ERRCODE = 'HL011';
        END IF;
        IF EXISTS (
            SELECT FROM after WHERE status = 'EXPIRED' AND expires_at > clock_timestamp()
        ) THEN
            RAISE EXCEPTION 'the hold has not expired yet' USING ERRCODE = 'HL012';
        END IF;
        UPDATE flash_promos promo SET taken = promo.taken - sums.units
        FROM (
            SELECT promo_id, sum(quantity) AS units FROM after
            WHERE status IN ('CANCELLED', 'EXPIRED') GROUP BY promo_id
        ) sums
        WHERE promo.id = sums.promo_id;
        UPDATE store_products stock
        SET held = stock.held - sums.closed, on_hand = stock.on_hand - sums.sold
        FROM (
            SELECT store_product_id,
                   coalesce(sum(quantity) FILTER (WHERE status <> 'HELD'), 0) AS closed,
                   coalesce(sum(quantity) FILTER (WHERE status = 'CONFIRMED'), 0) AS sold
            FROM after GROUP BY store_product_id
        ) sums
        WHERE stock.id = sums.store_product_id;
        UPDATE promo_user_counts counts SET taken = counts.taken - sums.units
        FROM (
            SELECT promo_id, user_id, sum(quantity) AS units FROM after
            WHERE status IN ('CANCELLED', 'EXPIRED') GROUP BY promo_id, user_id
        ) sums
        WHERE counts.promo_id = sums.promo_id AND counts.user_id = sums.user_id;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER reservations_count_closed AFTER UPDATE ON reservations
    REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION count_closed_holds()
    """,
    """
    CREATE FUNCTION refuse_closed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'a closed hold stays as it is' USING ERRCODE = 'HL003';
    END $$
    """,
    """
    CREATE TRIGGER reservations_closed BEFORE UPDATE ON reservations
    FOR EACH ROW WHEN (OLD.status <> 'HELD') EXECUTE FUNCTION refuse_closed()
    """,
    """
    CREATE TRIGGER reservations_terms BEFORE UPDATE ON reservations
    FOR EACH ROW WHEN (
        (OLD.token, OLD.promo_id, OLD.store_product_id, OLD.user_id, OLD.quantity,
         OLD.unit_price, OLD.created_at, OLD.expires_at)
        IS DISTINCT FROM
        (NEW.token, NEW.promo_id, NEW.store_product_id, NEW.user_id, NEW.quantity,
         NEW.unit_price, NEW.created_at, NEW.expires_at)
    ) EXECUTE FUNCTION refuse_change()
    """,
    """
    CREATE TRIGGER reservations_permanent BEFORE DELETE ON reservations
    FOR EACH ROW EXECUTE FUNCTION refuse_change()
    """,
    """
    CREATE TRIGGER stock_adjustments_permanent BEFORE UPDATE ON stock_adjustments
    FOR EACH ROW EXECUTE FUNCTION refuse_change()
    """,
)
"""Triggers a statement, not a row, move the counters: a batch of holds moves each once. Those a row
call no function unless they have something to refuse."""

FUNCTIONS = (
    "count_closed_holds", "count_new_holds", "move_promos", "place_promo", "refuse_closed"
)



def upgrade() -> None:
    op.create_table('idempotency_keys',
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('operation', sa.Text(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('request_hash', sa.Text(), nullable=False),
    sa.Column('response_ref', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('idempotency_keys_user_id_fkey'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('user_id', 'operation', 'key', name=op.f('idempotency_keys_pkey'))
    )
    op.create_index(op.f('idempotency_keys_created_at_idx'), 'idempotency_keys', ['created_at'], unique=False)
    op.create_table('notification_days',
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('day', sa.Date(), nullable=False),
    sa.Column('sent', sa.Integer(), nullable=False),
    sa.Column('cap', sa.Integer(), nullable=False),
    sa.CheckConstraint('sent >= 0 AND sent <= cap', name=op.f('notification_days_daily_cap_check')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('notification_days_user_id_fkey'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('user_id', name=op.f('notification_days_pkey'))
    )
    op.create_table('products',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('owner_id', sa.Uuid(), nullable=True),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('description', sa.Text(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("name <> ''", name=op.f('products_name_check')),
    sa.ForeignKeyConstraint(['owner_id'], ['users.id'], name=op.f('products_owner_id_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('products_pkey'))
    )
    op.create_index(op.f('products_owner_id_idx'), 'products', ['owner_id'], unique=False)
    op.create_geospatial_table('stores',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('owner_id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('geom', Geography(geometry_type='POINT', srid=4326, dimension=2, spatial_index=False, from_text='ST_GeogFromText', name='geography', nullable=False), nullable=False),
    sa.Column('time_zone', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("name <> ''", name=op.f('stores_name_check')),
    sa.ForeignKeyConstraint(['owner_id'], ['users.id'], name=op.f('stores_owner_id_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('stores_pkey'))
    )
    op.create_geospatial_index('stores_geom_idx', 'stores', ['geom'], unique=False, postgresql_using='gist', postgresql_ops={})
    op.create_index(op.f('stores_owner_id_idx'), 'stores', ['owner_id'], unique=False)
    op.create_table('store_products',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('store_id', sa.BigInteger(), nullable=False),
    sa.Column('product_id', sa.BigInteger(), nullable=False),
    sa.Column('on_hand', sa.Integer(), nullable=False),
    sa.Column('held', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('base_price', sa.Numeric(precision=14, scale=2), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('0 <= held AND held <= on_hand', name=op.f('store_products_stock_not_oversold_check')),
    sa.CheckConstraint('base_price >= 0', name=op.f('store_products_base_price_check')),
    sa.ForeignKeyConstraint(['product_id'], ['products.id'], name=op.f('store_products_product_id_fkey')),
    sa.ForeignKeyConstraint(['store_id'], ['stores.id'], name=op.f('store_products_store_id_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('store_products_pkey')),
    sa.UniqueConstraint('store_id', 'product_id', name=op.f('store_products_store_id_product_id_key'))
    )
    op.create_index(op.f('store_products_product_id_idx'), 'store_products', ['product_id'], unique=False)
    op.create_geospatial_table('flash_promos',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('store_product_id', sa.BigInteger(), nullable=False),
    sa.Column('geom', Geography(geometry_type='POINT', srid=4326, dimension=2, spatial_index=False, from_text='ST_GeogFromText', name='geography', nullable=False), nullable=False),
    sa.Column('starts_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ends_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('status', sa.Text(), server_default='SCHEDULED', nullable=False),
    sa.Column('segments', postgresql.ARRAY(sa.Text()), server_default=sa.text("'{NEW,FREQUENT}'"), nullable=False),
    sa.Column('radius_m', sa.Double(), server_default=sa.text('2000'), nullable=False),
    sa.Column('discount_percent', sa.Numeric(precision=5, scale=2), server_default=sa.text('0'), nullable=False),
    sa.Column('hold_seconds', sa.Integer(), server_default=sa.text('60'), nullable=False),
    sa.Column('quota', sa.Integer(), nullable=True),
    sa.Column('taken', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('max_per_user', sa.Integer(), nullable=True),
    sa.Column('enforce_audience', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('admission_mode', sa.Text(), server_default='OPEN', nullable=False),
    sa.Column('admit_above', sa.Double(), server_default=sa.text('0.5'), nullable=False),
    sa.Column('deny_below', sa.Double(), server_default=sa.text('0'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("admission_mode IN ('OPEN', 'SCORED')", name=op.f('flash_promos_admission_mode_check')),
    sa.CheckConstraint("segments <@ ARRAY['NEW', 'FREQUENT']", name=op.f('flash_promos_segments_check')),
    sa.CheckConstraint("status IN ('SCHEDULED', 'ACTIVE', 'ENDED', 'CANCELLED')", name=op.f('flash_promos_status_check')),
    sa.CheckConstraint('0 <= deny_below AND deny_below <= admit_above AND admit_above <= 1', name=op.f('flash_promos_admission_check')),
    sa.CheckConstraint('discount_percent BETWEEN 0 AND 100', name=op.f('flash_promos_discount_percent_check')),
    sa.CheckConstraint('hold_seconds BETWEEN 1 AND 86400', name=op.f('flash_promos_hold_seconds_check')),
    sa.CheckConstraint('isfinite(starts_at) AND isfinite(ends_at)', name=op.f('flash_promos_finite_check')),
    sa.CheckConstraint('max_per_user > 0', name=op.f('flash_promos_max_per_user_check')),
    sa.CheckConstraint('quota >= 0', name=op.f('flash_promos_quota_sign_check')),
    sa.CheckConstraint('radius_m >= 50 AND radius_m <= 50000', name=op.f('flash_promos_radius_m_check')),
    sa.CheckConstraint('starts_at < ends_at', name=op.f('flash_promos_schedule_check')),
    sa.CheckConstraint('taken >= 0 AND taken <= quota', name=op.f('flash_promos_promo_quota_check')),
    sa.ForeignKeyConstraint(['store_product_id'], ['store_products.id'], name=op.f('flash_promos_store_product_id_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('flash_promos_pkey')),
    sa.UniqueConstraint('id', 'store_product_id', name=op.f('flash_promos_id_store_product_id_key'))
    )
    op.create_geospatial_index('flash_promos_active_near_idx', 'flash_promos', ['geom'], unique=False, postgresql_using='gist', postgresql_where=sa.text("status = 'ACTIVE'"), postgresql_ops={})
    op.create_index('flash_promos_due_idx', 'flash_promos', ['starts_at'], unique=False, postgresql_where=sa.text("status = 'SCHEDULED'"))
    op.create_index('flash_promos_over_idx', 'flash_promos', ['ends_at'], unique=False, postgresql_where=sa.text("status = 'ACTIVE'"))
    op.create_index(op.f('flash_promos_store_product_id_idx'), 'flash_promos', ['store_product_id'], unique=False)
    op.create_table('stock_adjustments',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('store_product_id', sa.BigInteger(), nullable=False),
    sa.Column('by_user_id', sa.Uuid(), nullable=False),
    sa.Column('delta', sa.Integer(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['by_user_id'], ['users.id'], name=op.f('stock_adjustments_by_user_id_fkey')),
    sa.ForeignKeyConstraint(['store_product_id'], ['store_products.id'], name=op.f('stock_adjustments_store_product_id_fkey'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('stock_adjustments_pkey'))
    )
    op.create_index(op.f('stock_adjustments_by_user_id_idx'), 'stock_adjustments', ['by_user_id'], unique=False)
    op.create_index(op.f('stock_adjustments_store_product_id_idx'), 'stock_adjustments', ['store_product_id'], unique=False)
    op.create_table('predictions',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('model_id', sa.BigInteger(), nullable=False),
    sa.Column('version_id', sa.BigInteger(), nullable=True),
    sa.Column('version', sa.Text(), nullable=False),
    sa.Column('input', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('output', postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    sa.Column('explain', postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    sa.Column('is_mock', sa.Boolean(), nullable=False),
    sa.Column('promo_id', sa.BigInteger(), nullable=True),
    sa.Column('decision', sa.Text(), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("(status = 'SUCCEEDED') = (output IS NOT NULL)", name=op.f('predictions_output_check')),
    sa.CheckConstraint("decision IN ('ADMIT', 'WAITLIST', 'DENY')", name=op.f('predictions_decision_check')),
    sa.CheckConstraint("kind IN ('ATTENDANCE', 'COURSE', 'PAID')", name=op.f('predictions_kind_check')),
    sa.CheckConstraint("status IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED')", name=op.f('predictions_status_check')),
    sa.CheckConstraint('(promo_id IS NULL) = (decision IS NULL)', name=op.f('predictions_admission_check')),
    sa.ForeignKeyConstraint(['model_id'], ['models.id'], name=op.f('predictions_model_id_fkey')),
    sa.ForeignKeyConstraint(['promo_id'], ['flash_promos.id'], name=op.f('predictions_promo_id_fkey')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('predictions_user_id_fkey')),
    sa.ForeignKeyConstraint(['version_id'], ['model_versions.id'], name=op.f('predictions_version_id_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('predictions_pkey'))
    )
    op.create_index(op.f('predictions_model_id_idx'), 'predictions', ['model_id'], unique=False)
    op.create_index('one_admission_per_user_and_promo', 'predictions', ['promo_id', 'user_id'], unique=True, postgresql_where=sa.text('promo_id IS NOT NULL'))
    op.create_index(op.f('predictions_promo_id_created_at_id_idx'), 'predictions', ['promo_id', 'created_at', 'id'], unique=False)
    op.create_index(op.f('predictions_user_id_idx'), 'predictions', ['user_id', sa.literal_column('created_at DESC'), sa.literal_column('id DESC')], unique=False)
    op.create_index(op.f('predictions_version_id_created_at_idx'), 'predictions', ['version_id', 'created_at'], unique=False)
    op.create_table('promo_user_counts',
    sa.Column('promo_id', sa.BigInteger(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('taken', sa.Integer(), nullable=False),
    sa.Column('max_per_user', sa.Integer(), nullable=True),
    sa.CheckConstraint('taken >= 0 AND taken <= max_per_user', name=op.f('promo_user_counts_promo_limit_per_user_check')),
    sa.ForeignKeyConstraint(['promo_id'], ['flash_promos.id'], name=op.f('promo_user_counts_promo_id_fkey'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('promo_user_counts_user_id_fkey'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('promo_id', 'user_id', name=op.f('promo_user_counts_pkey'))
    )
    op.create_index(op.f('promo_user_counts_user_id_idx'), 'promo_user_counts', ['user_id'], unique=False)
    op.create_table('reservations',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('token', sa.Text(), nullable=False),
    sa.Column('promo_id', sa.BigInteger(), nullable=False),
    sa.Column('store_product_id', sa.BigInteger(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('quantity', sa.Integer(), nullable=False),
    sa.Column('unit_price', sa.Numeric(precision=14, scale=2), nullable=False),
    sa.Column('status', sa.Text(), server_default='HELD', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('closed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('score_id', sa.Uuid(), nullable=True),
    sa.CheckConstraint("(status = 'HELD') = (closed_at IS NULL)", name=op.f('reservations_closed_at_check')),
    sa.CheckConstraint("status IN ('HELD', 'CONFIRMED', 'CANCELLED', 'EXPIRED')", name=op.f('reservations_status_check')),
    sa.CheckConstraint('quantity > 0', name=op.f('reservations_quantity_check')),
    sa.CheckConstraint('unit_price >= 0', name=op.f('reservations_unit_price_check')),
    sa.ForeignKeyConstraint(['promo_id', 'store_product_id'], ['flash_promos.id', 'flash_promos.store_product_id'], name=op.f('reservations_promo_id_store_product_id_fkey')),
    sa.ForeignKeyConstraint(['score_id'], ['predictions.id'], name=op.f('reservations_score_id_fkey')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('reservations_user_id_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('reservations_pkey')),
    sa.UniqueConstraint('token', name=op.f('reservations_token_key'))
    )
    op.create_index('one_hold_per_user_and_promo', 'reservations', ['promo_id', 'user_id'], unique=True, postgresql_where=sa.text("status = 'HELD'"))
    op.create_index('reservations_confirmed_idx', 'reservations', ['user_id', 'closed_at'], unique=False, postgresql_where=sa.text("status = 'CONFIRMED'"))
    op.create_index('reservations_held_by_stock_idx', 'reservations', ['store_product_id', 'expires_at'], unique=False, postgresql_where=sa.text("closed_at IS NULL"))
    op.create_index('reservations_held_idx', 'reservations', ['expires_at'], unique=False, postgresql_where=sa.text("closed_at IS NULL"))
    op.create_index(op.f('reservations_promo_id_store_product_id_status_idx'), 'reservations', ['promo_id', 'store_product_id', 'status'], unique=False)
    op.create_index(op.f('reservations_score_id_idx'), 'reservations', ['score_id'], unique=False)
    op.create_index(op.f('reservations_user_id_idx'), 'reservations', ['user_id', sa.literal_column('created_at DESC'), sa.literal_column('id DESC')], unique=False)
    op.create_table('notifications',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('title', sa.Text(), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.Column('promo_id', sa.BigInteger(), nullable=True),
    sa.Column('reservation_id', sa.BigInteger(), nullable=True),
    sa.Column('distance_m', sa.Double(), nullable=True),
    sa.Column('sent_date', sa.Date(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('read_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("kind <> 'PROMO' OR promo_id IS NOT NULL", name=op.f('notifications_promo_check')),
    sa.CheckConstraint("kind <> 'WAITLIST_OFFER' OR reservation_id IS NOT NULL", name=op.f('notifications_waitlist_offer_check')),
    sa.CheckConstraint("kind IN ('PROMO', 'WAITLIST_OFFER', 'SHORTAGE_ALERT', 'LOW_BALANCE', 'PREDICTION_READY')", name=op.f('notifications_kind_check')),
    sa.ForeignKeyConstraint(['promo_id'], ['flash_promos.id'], name=op.f('notifications_promo_id_fkey')),
    sa.ForeignKeyConstraint(['reservation_id'], ['reservations.id'], name=op.f('notifications_reservation_id_fkey')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('notifications_user_id_fkey'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('notifications_pkey'))
    )
    op.create_index(op.f('notifications_promo_id_idx'), 'notifications', ['promo_id'], unique=False)
    op.create_index(op.f('notifications_reservation_id_idx'), 'notifications', ['reservation_id'], unique=False)
    op.create_index('notifications_unread_idx', 'notifications', ['user_id', 'id'], unique=False, postgresql_where=sa.text('read_at IS NULL'))
    op.create_index(op.f('notifications_user_id_id_idx'), 'notifications', ['user_id', 'id'], unique=False)
    op.create_index('one_promo_notice_per_user_and_day', 'notifications', ['promo_id', 'user_id', 'sent_date'], unique=True, postgresql_where=sa.text("kind = 'PROMO'"))
    op.create_table('waitlist_entries',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('promo_id', sa.BigInteger(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('quantity', sa.Integer(), nullable=False),
    sa.Column('status', sa.Text(), server_default='WAITING', nullable=False),
    sa.Column('priority', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('joined_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('closed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('offer_reservation_id', sa.BigInteger(), nullable=True),
    sa.Column('score_id', sa.Uuid(), nullable=True),
    sa.CheckConstraint("status <> 'OFFERED' OR offer_reservation_id IS NOT NULL", name=op.f('waitlist_entries_offer_check')),
    sa.CheckConstraint("status IN ('WAITING', 'OFFERED', 'CONVERTED', 'MISSED', 'LEFT')", name=op.f('waitlist_entries_status_check')),
    sa.CheckConstraint('quantity > 0', name=op.f('waitlist_entries_quantity_check')),
    sa.ForeignKeyConstraint(['offer_reservation_id'], ['reservations.id'], name=op.f('waitlist_entries_offer_reservation_id_fkey')),
    sa.ForeignKeyConstraint(['promo_id'], ['flash_promos.id'], name=op.f('waitlist_entries_promo_id_fkey')),
    sa.ForeignKeyConstraint(['score_id'], ['predictions.id'], name=op.f('waitlist_entries_score_id_fkey')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('waitlist_entries_user_id_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('waitlist_entries_pkey')),
    sa.UniqueConstraint('offer_reservation_id', name=op.f('waitlist_entries_offer_reservation_id_key'))
    )
    op.create_index('one_place_per_user_and_promo', 'waitlist_entries', ['promo_id', 'user_id'], unique=True, postgresql_where=sa.text("status IN ('WAITING', 'OFFERED')"))
    op.create_index(op.f('waitlist_entries_promo_id_idx'), 'waitlist_entries', ['promo_id'], unique=False)
    op.create_index('waitlist_entries_queue_idx', 'waitlist_entries', ['promo_id', sa.literal_column('priority DESC'), 'joined_at', 'id'], unique=False, postgresql_where=sa.text("status = 'WAITING'"))
    op.create_index(op.f('waitlist_entries_score_id_idx'), 'waitlist_entries', ['score_id'], unique=False)
    op.create_index(op.f('waitlist_entries_user_id_idx'), 'waitlist_entries', ['user_id'], unique=False)
    op.add_column('profiles', sa.Column('promos_enabled', sa.Boolean(), server_default=sa.text('true'), nullable=False))
    op.add_column('profiles', sa.Column('shortages_enabled', sa.Boolean(), server_default=sa.text('true'), nullable=False))
    op.add_column('profiles', sa.Column('daily_cap', sa.Integer(), server_default=sa.text('3'), nullable=False))
    op.add_column('profiles', sa.Column('quiet_from', sa.Time(), nullable=True))
    op.add_column('profiles', sa.Column('quiet_to', sa.Time(), nullable=True))
    op.add_column('profiles', sa.Column('low_balance_threshold', sa.Numeric(precision=14, scale=2), nullable=True))
    op.create_check_constraint(op.f('profiles_daily_cap_check'), 'profiles', 'daily_cap BETWEEN 0 AND 100')
    op.create_check_constraint(op.f('profiles_quiet_hours_check'), 'profiles', '(quiet_from IS NULL) = (quiet_to IS NULL)')
    op.create_check_constraint(op.f('profiles_low_balance_threshold_check'), 'profiles', 'low_balance_threshold >= 0')
    for statement in (*PLACE_OF_PROMOS, *RULES_OF_HOLDS):
        op.execute(statement)


def downgrade() -> None:
    op.drop_column('profiles', 'low_balance_threshold')
    op.drop_column('profiles', 'quiet_to')
    op.drop_column('profiles', 'quiet_from')
    op.drop_column('profiles', 'daily_cap')
    op.drop_column('profiles', 'shortages_enabled')
    op.drop_column('profiles', 'promos_enabled')
    op.drop_index(op.f('waitlist_entries_user_id_idx'), table_name='waitlist_entries')
    op.drop_index(op.f('waitlist_entries_score_id_idx'), table_name='waitlist_entries')
    op.drop_index('waitlist_entries_queue_idx', table_name='waitlist_entries', postgresql_where=sa.text("status = 'WAITING'"))
    op.drop_index(op.f('waitlist_entries_promo_id_idx'), table_name='waitlist_entries')
    op.drop_index('one_place_per_user_and_promo', table_name='waitlist_entries', postgresql_where=sa.text("status IN ('WAITING', 'OFFERED')"))
    op.drop_table('waitlist_entries')
    op.drop_index('one_promo_notice_per_user_and_day', table_name='notifications', postgresql_where=sa.text("kind = 'PROMO'"))
    op.drop_index(op.f('notifications_user_id_id_idx'), table_name='notifications')
    op.drop_index('notifications_unread_idx', table_name='notifications', postgresql_where=sa.text('read_at IS NULL'))
    op.drop_index(op.f('notifications_reservation_id_idx'), table_name='notifications')
    op.drop_index(op.f('notifications_promo_id_idx'), table_name='notifications')
    op.drop_table('notifications')
    op.drop_index(op.f('reservations_user_id_idx'), table_name='reservations')
    op.drop_index(op.f('reservations_score_id_idx'), table_name='reservations')
    op.drop_index(op.f('reservations_promo_id_store_product_id_status_idx'), table_name='reservations')
    op.drop_index('reservations_held_by_stock_idx', table_name='reservations', postgresql_where=sa.text("closed_at IS NULL"))
    op.drop_index('reservations_held_idx', table_name='reservations', postgresql_where=sa.text("closed_at IS NULL"))
    op.drop_index('reservations_confirmed_idx', table_name='reservations', postgresql_where=sa.text("status = 'CONFIRMED'"))
    op.drop_index('one_hold_per_user_and_promo', table_name='reservations', postgresql_where=sa.text("status = 'HELD'"))
    op.drop_table('reservations')
    op.drop_index(op.f('promo_user_counts_user_id_idx'), table_name='promo_user_counts')
    op.drop_table('promo_user_counts')
    op.drop_index(op.f('predictions_version_id_created_at_idx'), table_name='predictions')
    op.drop_index(op.f('predictions_user_id_idx'), table_name='predictions')
    op.drop_index('one_admission_per_user_and_promo', table_name='predictions', postgresql_where=sa.text('promo_id IS NOT NULL'))
    op.drop_index(op.f('predictions_promo_id_created_at_id_idx'), table_name='predictions')
    op.drop_index(op.f('predictions_model_id_idx'), table_name='predictions')
    op.drop_table('predictions')
    op.drop_index(op.f('stock_adjustments_store_product_id_idx'), table_name='stock_adjustments')
    op.drop_index(op.f('stock_adjustments_by_user_id_idx'), table_name='stock_adjustments')
    op.drop_table('stock_adjustments')
    op.drop_index(op.f('flash_promos_store_product_id_idx'), table_name='flash_promos')
    op.drop_index('flash_promos_over_idx', table_name='flash_promos', postgresql_where=sa.text("status = 'ACTIVE'"))
    op.drop_index('flash_promos_due_idx', table_name='flash_promos', postgresql_where=sa.text("status = 'SCHEDULED'"))
    op.drop_geospatial_index('flash_promos_active_near_idx', table_name='flash_promos', postgresql_using='gist', postgresql_where=sa.text("status = 'ACTIVE'"), column_name='geom')
    op.drop_geospatial_table('flash_promos')
    op.drop_index(op.f('store_products_product_id_idx'), table_name='store_products')
    op.drop_table('store_products')
    op.drop_index(op.f('stores_owner_id_idx'), table_name='stores')
    op.drop_geospatial_index('stores_geom_idx', table_name='stores', postgresql_using='gist', column_name='geom')
    op.drop_geospatial_table('stores')
    op.drop_index(op.f('products_owner_id_idx'), table_name='products')
    op.drop_table('products')
    op.drop_table('notification_days')
    op.drop_index(op.f('idempotency_keys_created_at_idx'), table_name='idempotency_keys')
    op.drop_table('idempotency_keys')
    for function in FUNCTIONS:
        op.execute(f'DROP FUNCTION {function}')

