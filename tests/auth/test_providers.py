import pytest

from auth.providers import Provider


def test_a_project_reference_is_enough() -> None:
    provider = Provider.supabase("abcdefghijklmnop")
    assert provider.issuer == "https://abcdefghijklmnop.supabase.co/auth/v1"
    assert provider.jwks_url == (
        "https://abcdefghijklmnop.supabase.co/auth/v1/.well-known/jwks.json"
    )
    assert provider.audience == "authenticated"
    assert provider.algorithms == ("RS256", "ES256")


def test_the_given_addresses_win() -> None:
    old = Provider.supabase("abc", jwks_url="https://abc.supabase.co/auth/v1/keys")
    assert old.jwks_url == "https://abc.supabase.co/auth/v1/keys"
    assert old.issuer == "https://abc.supabase.co/auth/v1"
    assert Provider.supabase("abc", issuer="https://id.example").jwks_url == (
        "https://id.example/.well-known/jwks.json"
    )
    alone = Provider.supabase("", jwks_url="http://127.0.0.1:54321/auth/v1/keys")
    assert alone.issuer == "http://127.0.0.1:54321/auth/v1"


@pytest.mark.parametrize("ref", ["", "https://abc.supabase.co", "a.b", "a/b", "ñ", "a" * 64])
def test_refuses_what_is_no_project_reference(ref: str) -> None:
    with pytest.raises(ValueError, match="project reference"):
        Provider.supabase(ref)


@pytest.mark.parametrize("algorithms", [("HS256",), ("RS256", "HS256"), ("none",), ()])
def test_refuses_algorithms_whose_key_is_shared(algorithms: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="RS256 and ES256 only"):
        Provider("https://id.example", "me", algorithms)


def test_refuses_what_could_not_work() -> None:
    with pytest.raises(ValueError, match="needs an issuer"):
        Provider("https://id.example", "")
    with pytest.raises(ValueError, match="not an http address"):
        Provider("https://id.example", "me", jwks_url="file:///etc/passwd")
    with pytest.raises(ValueError, match="not an http address"):
        Provider("id.example", "me")
    with pytest.raises(ValueError, match="accounts kept here"):
        Provider("local", "me", jwks_url="https://id.example/keys")
