import type { Storage as GraphiQLStorage } from "@graphiql/toolkit";
import { examples } from "./examples";

// Tabs and history outlive the browser tab; tokens must not. GraphiQL alone gives no such choice:
// `shouldPersistHeaders` true writes them to localStorage, false loses them at every reload, and
// either way its history plugin stores the headers of each run. So GraphiQL may persist what it
// likes, and this storage decides where: headers go to sessionStorage, everything else to
// localStorage with passwords and tokens blanked.
const PREFIX = "graphiql:";
const TABS = `${PREFIX}tabState`;
const HEADERS = `${PREFIX}headers`;
const HISTORY = new Set([`${PREFIX}queries`, `${PREFIX}favorites`]);
const TAB_HEADERS = `${PREFIX}tabHeaders`;

interface StoredTab {
  id: string;
  query: string | null;
  variables: string | null;
  headers: string | null;
}
export interface StoredTabs {
  tabs: StoredTab[];
  activeTabIndex: number;
}

// `password: "…"` in a document or `"password": "…"` in a variables pane, closed or still being
// typed; and a JSON Web Token, wherever it was pasted.
const PASSWORD = /(password"?\s*:\s*")(?:\\.|[^"\\])*/gi;
const TOKEN = /\beyJ[\w-]+\.[\w-]+\.[\w-]*/g;

function withoutSecrets(text: string): string {
  return text.replace(PASSWORD, "$1").replace(TOKEN, "");
}

/** The same for stored tabs and history: headers go altogether, every text inside is blanked. */
function withoutSecretsInside(json: string): string {
  return JSON.stringify(JSON.parse(json), (key, value: unknown) => {
    if (key === "headers") return null;
    return typeof value === "string" ? withoutSecrets(value) : value;
  });
}

export function readTabs(): StoredTabs | null {
  try {
    const stored = JSON.parse(localStorage.getItem(TABS) ?? "") as StoredTabs;
    if (!stored.tabs.length) return null;
    const headers = JSON.parse(sessionStorage.getItem(TAB_HEADERS) ?? "{}") as Record<string, string>;
    // In a new session an unchanged example at least has its header template back.
    for (const tab of stored.tabs) {
      const example = examples.find(({ query }) => query === tab.query?.trimEnd());
      tab.headers = headers[tab.id] ?? example?.headers ?? null;
    }
    stored.activeTabIndex = Math.min(Math.max(stored.activeTabIndex, 0), stored.tabs.length - 1);
    return stored;
  } catch {
    return null; // a first visit, or something else wrote there
  }
}

function writeTabs(json: string): void {
  const { tabs } = JSON.parse(json) as StoredTabs;
  const headers = tabs.flatMap((tab) => (tab.headers === null ? [] : [[tab.id, tab.headers]]));
  sessionStorage.setItem(TAB_HEADERS, JSON.stringify(Object.fromEntries(headers)));
  localStorage.setItem(TABS, withoutSecretsInside(json));
}

function clear(storage: Storage): void {
  const ours = Object.keys(storage).filter((key) => key.startsWith(PREFIX));
  for (const key of ours) storage.removeItem(key);
}

export const storage: GraphiQLStorage = {
  getItem(key) {
    if (key === HEADERS) return sessionStorage.getItem(key);
    if (key !== TABS) return localStorage.getItem(key);
    const tabs = readTabs();
    return tabs && JSON.stringify(tabs);
  },
  setItem(key, value) {
    if (key === HEADERS) sessionStorage.setItem(key, value);
    else if (key === TABS) writeTabs(value);
    else if (HISTORY.has(key)) localStorage.setItem(key, withoutSecretsInside(value));
    else localStorage.setItem(key, withoutSecrets(value));
  },
  removeItem(key) {
    sessionStorage.removeItem(key);
    localStorage.removeItem(key);
  },
  clear() {
    clear(sessionStorage);
    clear(localStorage);
  },
  get length() {
    return Object.keys(localStorage).filter((key) => key.startsWith(PREFIX)).length;
  },
};
