"""The form of graphql-transport-ws messages, judged before anything reads from them."""


def malformed(message: object) -> str | None:
    """What is wrong with a socket message, or None."""
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return "A message must be an object with a type"
    if message["type"] in {"subscribe", "complete"} and not isinstance(message.get("id"), str):
        return "The message needs an id"
    if message["type"] == "connection_init" and not isinstance(message.get("payload", {}), dict):
        return "Invalid connection init payload"
    return malformed_payload(message.get("payload")) if message["type"] == "subscribe" else None


def malformed_payload(payload: object) -> str | None:
    if not isinstance(payload, dict) or not isinstance(payload.get("query"), str):
        return "The payload must be an object with a query"
    if not isinstance(payload.get("variables"), dict | None):
        return "The variables must be an object or null"
    if not isinstance(payload.get("operationName"), str | None):
        return "The operationName must be a string or null"
    return None
