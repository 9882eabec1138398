"""Who may do what. Each role may do all that the roles before it may."""

from db.models.accounts import Role

ASCENDING = (Role.USER, Role.MERCHANT, Role.ADMIN)


def allows(role: str, required: Role) -> bool:
    """A role that this version does not know (a newer one wrote the row) allows nothing."""
    return role in ASCENDING[ASCENDING.index(required) :]
