"""Names, addresses, ages and places of generated buyers: the same for fans and for bots, except
for the digits and the domain of the e-mail address.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.featurizer import DISPOSABLE_DOMAINS, Floats

# fmt: off
_FIRST = (
    "ana", "andrea", "bruno", "camila", "carla", "carlos", "daniel", "diego", "elena", "felipe",
    "gabriel", "helena", "ines", "javier", "joao", "jorge", "laura", "lucas", "lucia", "luis",
    "maria", "mateo", "nicolas", "pablo", "paula", "pedro", "rosa", "sofia", "tomas", "valentina",
)
_LAST = (
    "alvarez", "castro", "costa", "diaz", "fernandez", "flores", "garcia", "gomez", "gonzalez",
    "herrera", "lopez", "martinez", "mendoza", "morales", "munoz", "ortiz", "perez", "ramirez",
    "reyes", "rivera", "rojas", "romero", "ruiz", "santos", "silva", "soto", "torres", "vargas",
)
# fmt: on
_DOMAINS = ("gmail.com", "hotmail.com", "outlook.com", "yahoo.com", "icloud.com", "example.com")
_DOMAIN_SHARES = (0.52, 0.17, 0.12, 0.1, 0.06, 0.03)
_THROW_AWAY = tuple(sorted(DISPOSABLE_DOMAINS))
_PLACES = (
    ("CL", "Santiago"),
    ("CL", "Valparaíso"),
    ("AR", "Buenos Aires"),
    ("CO", "Bogotá"),
    ("CO", "Medellín"),
    ("MX", "Ciudad de México"),
    ("PE", "Lima"),
    ("UY", "Montevideo"),
    ("BR", "São Paulo"),
    ("ES", "Madrid"),
)
# keeps the part before the @ under its 64 characters
_MOST_DIGITS = 40


def draw_identities(
    digits: Floats, disposable: Floats, rng: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """The columns email, age, country and city."""
    rows = len(digits)
    places = np.array(_PLACES, dtype=object)[rng.integers(len(_PLACES), size=rows)]
    return {
        "email": _emails(digits, disposable, rng),
        "age": np.clip(np.round(rng.normal(34, 11, rows)), 16, 90),
        "country": places[:, 0],
        "city": places[:, 1],
    }


def _emails(digits: Floats, disposable: Floats, rng: np.random.Generator) -> NDArray[Any]:
    rows = len(digits)
    first = rng.integers(len(_FIRST), size=rows)
    last = rng.integers(len(_LAST), size=rows)
    usual = rng.choice(len(_DOMAINS), size=rows, p=_DOMAIN_SHARES)
    thrown = rng.integers(len(_THROW_AWAY), size=rows)
    numbers = rng.integers(10**9, 10**10, size=rows)
    emails = np.empty(rows, dtype=object)
    for i in range(rows):
        tail = (str(numbers[i]) * 4)[: min(int(digits[i]), _MOST_DIGITS)]
        domain = _THROW_AWAY[thrown[i]] if disposable[i] else _DOMAINS[usual[i]]
        emails[i] = f"{_FIRST[first[i]]}.{_LAST[last[i]]}{tail}@{domain}"
    return emails


def email_features(emails: NDArray[Any]) -> tuple[Floats, Floats]:
    """Digits before the @, and 1 for a throw-away domain; both of shape (rows,)."""
    digits = np.empty(len(emails))
    disposable = np.empty(len(emails))
    for i, email in enumerate(emails):
        local, _, domain = email.rpartition("@")
        digits[i] = sum(map(str.isdigit, local))
        disposable[i] = domain.lower() in DISPOSABLE_DOMAINS
    return digits, disposable
