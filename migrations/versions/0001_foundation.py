"""Accounts, the model registry, jobs.

Revision ID: 0001
Revises: 
"""

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geography
from sqlalchemy.dialects import postgresql
revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are permanent', TG_TABLE_NAME USING ERRCODE = 'HL001';
END $$
"""


def upgrade() -> None:
    op.execute('CREATE EXTENSION IF NOT EXISTS postgis')
    op.create_table('jobs',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('actor', sa.Text(), nullable=False),
    sa.Column('args', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('status', sa.Text(), server_default='QUEUED', nullable=False),
    sa.Column('attempts', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('max_attempts', sa.Integer(), nullable=False),
    sa.Column('sends', sa.Integer(), server_default=sa.text('1'), nullable=False),
    sa.Column('available_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('resend_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('leased_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("(status = 'RUNNING') = (leased_until IS NOT NULL)", name=op.f('jobs_lease_check')),
    sa.CheckConstraint("status IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED')", name=op.f('jobs_status_check')),
    sa.CheckConstraint('max_attempts > 0', name=op.f('jobs_max_attempts_check')),
    sa.PrimaryKeyConstraint('id', name=op.f('jobs_pkey'))
    )
    op.create_index('jobs_failed_idx', 'jobs', ['finished_at', 'id'], unique=False, postgresql_where=sa.text("status = 'FAILED'"))
    op.create_index('jobs_queued_idx', 'jobs', ['resend_at'], unique=False, postgresql_where=sa.text("status = 'QUEUED'"))
    op.create_index('jobs_running_idx', 'jobs', ['leased_until'], unique=False, postgresql_where=sa.text("status = 'RUNNING'"))
    op.create_table('models',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('description', sa.Text(), nullable=True),
    sa.Column('task', sa.Text(), nullable=False),
    sa.Column('price', sa.Numeric(precision=14, scale=2), server_default=sa.text('0'), nullable=False),
    sa.Column('features', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("task IN ('CLASSIFICATION', 'REGRESSION', 'FORECAST')", name=op.f('models_task_check')),
    sa.CheckConstraint('price >= 0', name=op.f('models_price_check')),
    sa.PrimaryKeyConstraint('id', name=op.f('models_pkey')),
    sa.UniqueConstraint('key', name=op.f('models_key_key'))
    )
    op.create_table('users',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('issuer', sa.Text(), server_default='local', nullable=False),
    sa.Column('email', sa.Text(), nullable=True),
    sa.Column('username', sa.Text(), nullable=True),
    sa.Column('password_hash', sa.Text(), nullable=True),
    sa.Column('role', sa.Text(), server_default='USER', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("role IN ('USER', 'MERCHANT', 'ADMIN')", name=op.f('users_role_check')),
    sa.PrimaryKeyConstraint('id', name=op.f('users_pkey'))
    )
    op.create_index('users_email_key', 'users', [sa.literal_column('lower(email)')], unique=True, postgresql_where=sa.text("issuer = 'local'"))
    op.create_index('users_username_key', 'users', [sa.literal_column('lower(username)')], unique=True)
    op.create_table('model_versions',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('model_id', sa.BigInteger(), nullable=False),
    sa.Column('version', sa.Text(), nullable=False),
    sa.Column('model_type', sa.Text(), nullable=False),
    sa.Column('sha256', sa.Text(), nullable=False),
    sa.Column('path', sa.Text(), nullable=False),
    sa.Column('rows', sa.Integer(), nullable=True),
    sa.Column('metrics', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('library_versions', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('trained_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f('model_versions_sha256_check')),
    sa.ForeignKeyConstraint(['model_id'], ['models.id'], name=op.f('model_versions_model_id_fkey'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('model_versions_pkey')),
    sa.UniqueConstraint('id', 'model_id', name=op.f('model_versions_id_model_id_key')),
    sa.UniqueConstraint('model_id', 'version', name=op.f('model_versions_model_id_version_key'))
    )
    op.create_table('outbox',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('job_id', sa.Uuid(), nullable=False),
    sa.Column('actor', sa.Text(), nullable=False),
    sa.Column('available_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('attempts', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('dispatched_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('outbox_job_id_fkey'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('outbox_pkey'))
    )
    op.create_index(op.f('outbox_dispatched_at_idx'), 'outbox', ['dispatched_at'], unique=False)
    op.create_index(op.f('outbox_job_id_idx'), 'outbox', ['job_id'], unique=False)
    op.create_index('outbox_pending_idx', 'outbox', ['available_at'], unique=False, postgresql_where=sa.text('dispatched_at IS NULL'))
    op.create_geospatial_table('profiles',
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('geom', Geography(geometry_type='POINT', srid=4326, dimension=2, spatial_index=False, from_text='ST_GeogFromText', name='geography'), nullable=True),
    sa.Column('time_zone', sa.Text(), nullable=False),
    sa.Column('is_new_user', sa.Boolean(), nullable=True),
    sa.Column('is_frequent', sa.Boolean(), nullable=True),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('profiles_user_id_fkey'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('user_id', name=op.f('profiles_pkey'))
    )
    op.create_geospatial_index('profiles_geom_idx', 'profiles', ['geom'], unique=False, postgresql_using='gist', postgresql_ops={})
    op.create_table('model_alias_events',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('model_id', sa.BigInteger(), nullable=False),
    sa.Column('alias', sa.Text(), nullable=False),
    sa.Column('from_version_id', sa.Integer(), nullable=True),
    sa.Column('to_version_id', sa.Integer(), nullable=True),
    sa.Column('by_user_id', sa.Uuid(), nullable=True),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("alias IN ('CHAMPION', 'SHADOW')", name=op.f('model_alias_events_alias_check')),
    sa.ForeignKeyConstraint(['by_user_id'], ['users.id'], name=op.f('model_alias_events_by_user_id_fkey')),
    sa.ForeignKeyConstraint(['from_version_id', 'model_id'], ['model_versions.id', 'model_versions.model_id'], name=op.f('model_alias_events_from_version_id_model_id_fkey')),
    sa.ForeignKeyConstraint(['model_id'], ['models.id'], name=op.f('model_alias_events_model_id_fkey')),
    sa.ForeignKeyConstraint(['to_version_id', 'model_id'], ['model_versions.id', 'model_versions.model_id'], name=op.f('model_alias_events_to_version_id_model_id_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('model_alias_events_pkey'))
    )
    op.create_index(op.f('model_alias_events_by_user_id_idx'), 'model_alias_events', ['by_user_id'], unique=False)
    op.create_index(op.f('model_alias_events_from_version_id_model_id_idx'), 'model_alias_events', ['from_version_id', 'model_id'], unique=False)
    op.create_index(op.f('model_alias_events_model_id_at_id_idx'), 'model_alias_events', ['model_id', 'at', 'id'], unique=False)
    op.create_index(op.f('model_alias_events_to_version_id_model_id_idx'), 'model_alias_events', ['to_version_id', 'model_id'], unique=False)
    op.create_table('model_aliases',
    sa.Column('model_id', sa.BigInteger(), nullable=False),
    sa.Column('alias', sa.Text(), nullable=False),
    sa.Column('version_id', sa.Integer(), nullable=False),
    sa.CheckConstraint("alias IN ('CHAMPION', 'SHADOW')", name=op.f('model_aliases_alias_check')),
    sa.ForeignKeyConstraint(['model_id'], ['models.id'], name=op.f('model_aliases_model_id_fkey')),
    sa.ForeignKeyConstraint(['version_id', 'model_id'], ['model_versions.id', 'model_versions.model_id'], name=op.f('model_aliases_version_id_model_id_fkey')),
    sa.PrimaryKeyConstraint('model_id', 'alias', name=op.f('model_aliases_pkey'))
    )
    op.create_index(op.f('model_aliases_version_id_model_id_idx'), 'model_aliases', ['version_id', 'model_id'], unique=False)
    op.create_table('model_metrics',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('version_id', sa.BigInteger(), nullable=False),
    sa.Column('scope', sa.Text(), nullable=False),
    sa.Column('date', sa.Date(), nullable=False),
    sa.Column('accuracy', sa.Double(), nullable=False),
    sa.Column('precision', sa.Double(), nullable=False),
    sa.Column('recall', sa.Double(), nullable=False),
    sa.Column('f1_score', sa.Double(), nullable=False),
    sa.Column('roc_auc', sa.Double(), nullable=True),
    sa.ForeignKeyConstraint(['version_id'], ['model_versions.id'], name=op.f('model_metrics_version_id_fkey'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('model_metrics_pkey')),
    sa.UniqueConstraint('version_id', 'scope', 'date', name=op.f('model_metrics_version_id_scope_date_key'))
    )
    op.create_index(op.f('model_metrics_date_idx'), 'model_metrics', ['date'], unique=False)
    op.create_table('training_runs',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('model_id', sa.BigInteger(), nullable=False),
    sa.Column('job_id', sa.Uuid(), nullable=True),
    sa.Column('status', sa.Text(), server_default='QUEUED', nullable=False),
    sa.Column('promote', sa.Boolean(), nullable=False),
    sa.Column('promoted', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('version_id', sa.Integer(), nullable=True),
    sa.Column('metrics', postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("status IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED')", name=op.f('training_runs_status_check')),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('training_runs_job_id_fkey'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['model_id'], ['models.id'], name=op.f('training_runs_model_id_fkey')),
    sa.ForeignKeyConstraint(['version_id', 'model_id'], ['model_versions.id', 'model_versions.model_id'], name=op.f('training_runs_version_id_model_id_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('training_runs_pkey'))
    )
    op.create_index(op.f('training_runs_job_id_idx'), 'training_runs', ['job_id'], unique=False)
    op.create_index(op.f('training_runs_model_id_created_at_id_idx'), 'training_runs', ['model_id', 'created_at', 'id'], unique=False)
    op.create_index('training_runs_one_open_per_model', 'training_runs', ['model_id'], unique=True, postgresql_where=sa.text("status IN ('QUEUED', 'RUNNING')"))
    op.create_index(op.f('training_runs_version_id_model_id_idx'), 'training_runs', ['version_id', 'model_id'], unique=False)
    op.execute(APPEND_ONLY)
    op.execute("""
        CREATE TRIGGER model_alias_events_permanent BEFORE UPDATE OR DELETE ON model_alias_events
        FOR EACH ROW EXECUTE FUNCTION refuse_change()
    """)


def downgrade() -> None:
    op.drop_index(op.f('training_runs_version_id_model_id_idx'), table_name='training_runs')
    op.drop_index('training_runs_one_open_per_model', table_name='training_runs', postgresql_where=sa.text("status IN ('QUEUED', 'RUNNING')"))
    op.drop_index(op.f('training_runs_model_id_created_at_id_idx'), table_name='training_runs')
    op.drop_index(op.f('training_runs_job_id_idx'), table_name='training_runs')
    op.drop_table('training_runs')
    op.drop_index(op.f('model_metrics_date_idx'), table_name='model_metrics')
    op.drop_table('model_metrics')
    op.drop_index(op.f('model_aliases_version_id_model_id_idx'), table_name='model_aliases')
    op.drop_table('model_aliases')
    op.drop_index(op.f('model_alias_events_to_version_id_model_id_idx'), table_name='model_alias_events')
    op.drop_index(op.f('model_alias_events_model_id_at_id_idx'), table_name='model_alias_events')
    op.drop_index(op.f('model_alias_events_from_version_id_model_id_idx'), table_name='model_alias_events')
    op.drop_index(op.f('model_alias_events_by_user_id_idx'), table_name='model_alias_events')
    op.drop_table('model_alias_events')
    op.drop_geospatial_index('profiles_geom_idx', table_name='profiles', postgresql_using='gist', column_name='geom')
    op.drop_geospatial_table('profiles')
    op.drop_index('outbox_pending_idx', table_name='outbox', postgresql_where=sa.text('dispatched_at IS NULL'))
    op.drop_index(op.f('outbox_job_id_idx'), table_name='outbox')
    op.drop_index(op.f('outbox_dispatched_at_idx'), table_name='outbox')
    op.drop_table('outbox')
    op.drop_table('model_versions')
    op.drop_index('users_username_key', table_name='users')
    op.drop_index('users_email_key', table_name='users', postgresql_where=sa.text("issuer = 'local'"))
    op.drop_table('users')
    op.drop_table('models')
    op.drop_index('jobs_running_idx', table_name='jobs', postgresql_where=sa.text("status = 'RUNNING'"))
    op.drop_index('jobs_queued_idx', table_name='jobs', postgresql_where=sa.text("status = 'QUEUED'"))
    op.drop_index('jobs_failed_idx', table_name='jobs', postgresql_where=sa.text("status = 'FAILED'"))
    op.drop_table('jobs')
    op.execute('DROP FUNCTION refuse_change')
