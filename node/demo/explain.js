// Every sentence with which the page explains itself, in one place. Each of the functions that tell of something that
// happened returns [kind, title, why]: the kind chooses the colour in page.css. Short sentences; no word a visitor cannot know.

export const explain = {
  connected: (node, socketId) => ["connection", `Connected to node ${node}`,
    `A WebSocket is open, and this connection is called ${socketId}. The node does not know yet who you are.`],

  signedIn: (name, again) => again
    ? ["connection", `Signed in again as ${name}`,
      "pusher-js did that by itself. It asked the backend for a new signature, because each is good for one connection only."]
    : ["connection", `Signed in as ${name}`,
      "The backend signed your name for this one connection, and the node verified it. From now on, what is sent to you arrives here."],

  presence: (changes, isFirst) => isFirst ? firstState(changes) : change(changes),

  message: (from, node, text, apiNode) => ["message", `${from}: ${text}`,
    `Sent from a tab on node ${node}. The backend handed it to node ${apiNode}, and it went only to nodes where you are signed in.`],

  sent: (to, text, isOffline) => ["sent", `You to ${to}: ${text}`, isOffline
    ? `${to} is offline, so it reached nobody: events are delivered now or not at all.`
    : `It arrives in every tab that ${to} has open, whichever node each is on.`],

  lobbyIs: (others) => ["lobby", others.length ? `In the lobby with ${list(others)}` : "Alone in the lobby",
    "The lobby is a presence channel: whoever enters is told who is there, from all nodes. You are in it as the user who signed in."],

  joined: (name) => ["lobby", `${name} came into the lobby`, "Everyone in it is told once, however many tabs somebody opens on however many nodes."],

  left: (name) => ["lobby", `${name} left the lobby`,
    "Their last tab in it is gone, on all nodes. Who presses Leave is gone at once; a closed tab might be a reload, so that takes a second."],

  youLeft: () => ["lobby", "You left the lobby", "You are still online: being signed in and being in a channel are two things."],

  headline: (from, text, isKept) => ["headline-arrives", `Headline by ${from}: ${text}`, isKept
    ? "It was published before you came. This is a cache channel: nodes keep its last event for half an hour, for whoever subscribes later, anywhere."
    : "The backend published it once, to a cache channel. Nodes with subscribers pass it on, and it is kept for newcomers."],

  headlines: ["Cats learn to code", "Dogs ask for a review", "Geese merge without one"],

  lobby: (isOpen, isSignedIn, isIn) => {
    if (!isOpen) return "Sign in, and you are in; the last headline is there at once.";
    if (!isSignedIn) return "You are on your way.";
    return isIn ? "Everyone who signs in comes in here, watched or not." : "You are out, but still online: two different things.";
  },

  terminated: (name) => ["termination", `You threw ${name} out`,
    `Every connection signed in as ${name} is terminated, on all nodes. pusher-js may come straight back, and does.`],

  closed: (code, reason) => {
    if (code !== 4200) return ["trouble", "The connection was lost", `pusher-js tries to come back by itself. (Code ${code}${reason ? `: ${reason}` : ""})`];
    if (/leaving/.test(reason)) return ["trouble", "The node is leaving", "It was asked to stop, and tells everyone to come back at once. (Code 4200)"];
    return ["termination", "You were thrown out",
      "The node closed this connection with code 4200, which means “come back at once if you may”. pusher-js does; a backend that wants you gone refuses to sign you in."];
  },

  disconnected: () => ["offline", "You disconnected",
    "If this was your last connection, the people who watch you hear it in about a second."],

  signedOut: () => ["offline", "You left", "The people who watch you hear it in about a second, unless another tab of yours is open."],

  moving: (node) => ["connection", `Moving to node ${node}`,
    "You will be back within a second, which is how long nodes wait before they call anybody offline. So nobody notices."],

  trouble: (text) => ["trouble", "That did not work", text],

  place: (node, apiNode, isSignedIn) => {
    if (!isSignedIn) return `This tab will connect to node ${node}. The application’s backend always talks to node ${apiNode}.`;
    const backend = node === apiNode
      ? `This tab is on node ${node}, the one that the application’s backend talks to.`
      : `This tab is on node ${node}. The application’s backend talks to node ${apiNode}.`;
    return `${backend} NATS carries what is for a person to the nodes where that person is, and to no other.`;
  },

  people: (count, isOpen) => {
    if (!isOpen) return "Sign in, and the people you watch appear here.";
    const meaning = count ? "Online means at least one tab, on any node. " : "You watch nobody. ";
    return `${meaning}Messages and throwing out go through the application’s backend: this page holds no secret.`;
  },

  hint: (state) => ({
    "signed out": "Every new tab gets the next one.",
    "signed in": "Move to another, reload, or open this page twice: nobody hears a thing.",
    disconnected: "Nothing reaches you now.",
  })[state] ?? "pusher-js keeps trying until the node answers.",
};

function firstState({ offline, online }) {
  const parts = [online.length && `${list(online)} ${are(online)} online`, offline.length && `${list(offline)} ${are(offline)} offline`];
  return [online.length ? "online" : "offline", parts.filter(Boolean).join(", "),
    "Right after signing in you hear the state of everyone you watch, whichever node they are on."];
}

function change({ offline, online }) {
  const parts = [online.length && `${list(online)} came online`, offline.length && `${list(offline)} went offline`];
  const why = online.length
    ? "Their first connection in the whole cluster has signed in. Further tabs would make no noise."
    : "Their last connection in the whole cluster is gone. Nodes wait a second before they say so, for those who only reload.";
  return [online.length ? "online" : "offline", parts.filter(Boolean).join(", "), why];
}

function are(names) {
  return names.length === 1 ? "is" : "are";
}

function list(names) {
  return new Intl.ListFormat("en", { type: "conjunction" }).format(names);
}
