import { createGraphiQLFetcher, type Fetcher } from "@graphiql/toolkit";
import { createClient } from "graphql-ws";

/** The page's own address is the endpoint, so the same file works at /graphql and /api/v1/graphql. */
export function endpoint(page: Location = location): URL {
  // The plain file, /static/graphiql.html, opens as well, but nothing answers queries there.
  const path = page.pathname.startsWith(import.meta.env.BASE_URL) ? "/graphql" : page.pathname;
  return new URL(path, page.origin);
}

export function createFetcher(): Fetcher {
  const url = endpoint();
  const socketUrl = new URL(url);
  socketUrl.protocol = url.protocol === "https:" ? "wss:" : "ws:";

  let authorization: string | undefined;
  const wsClient = createClient({
    url: socketUrl.href,
    // A socket lives as long as one subscription (lazy is the default), so each run says anew who
    // is calling. Browsers can't set headers on a WebSocket: the token goes into the first message.
    connectionParams: () => (authorization ? { Authorization: authorization } : {}),
    keepAlive: 12_000,
  });
  const fetcher = createGraphiQLFetcher({
    url: url.href,
    wsClient,
    // The API has no @defer and no @stream; without this the toolkit asks for multipart answers.
    enableIncrementalDelivery: false,
  });

  return (params, options) => {
    authorization = header(options?.headers, "authorization");
    return fetcher(params, options);
  };
}

/** Header names are case-insensitive, JSON keys are not. */
function header(headers: Record<string, unknown> | undefined, name: string): string | undefined {
  const entry = Object.entries(headers ?? {}).find(([key]) => key.toLowerCase() === name);
  return typeof entry?.[1] === "string" ? entry[1] : undefined;
}
