// The page: what its reader does goes to session.js (pusher-js) and to the backend; what arrives becomes a list of people,
// a lobby, a drawing and a timeline. Names are data from elsewhere: they are only ever set as text.

import { renderChoices } from "./choices.js";
import { Diagram } from "./diagram.js";
import { explain } from "./explain.js";
import { Lobby } from "./lobby.js";
import { CAST, display, isId, toIds } from "./names.js";
import { openSession } from "./session.js";
import { make, Timeline } from "./timeline.js";

const byId = (id) => document.getElementById(id);
const config = JSON.parse(byId("config").textContent);
const SESSION_KEY = "usher-demo-signed-in";

const diagram = new Diagram(byId("diagram"), config.nodePorts.length);
const timeline = new Timeline(byId("timeline"), byId("timeline-empty"), byId("clear"));
const lobby = new Lobby({
  enter: () => session.enterLobby(),
  leave: () => session.leaveLobby(),
  publish: (text) => ask("/headline", { from: user, text }),
  pulse: (kind, from) => diagram.pulse(kind, from),
  tell,
  render,
});
const people = new Map(); // id of a watched user → "online", "offline" or "unknown"

let node = config.node;
let user = "";
let session = null;
let state = "signed out"; // then pusher-js' own words, and "signed in"
let signIns = 0;
let awaitsFirstState = false;

// Signing in and out

function readForm() {
  const [name = "", ...rest] = toIds(byId("name").value);
  const watch = [...new Set(toIds(byId("watch").value))].filter((id) => id !== name);
  return { name, watch, wrong: rest.length || !isId(name) ? "name" : watch.every(isId) ? null : "watch" };
}

function signIn() {
  const { name, watch, wrong } = readForm();
  byId("form-error").textContent = wrong ? "Please use the letters a to z, digits and - _ . @ in names." : "";
  for (const id of ["name", "watch"]) byId(id).ariaInvalid = String(id === wrong);
  if (wrong) return byId(wrong).focus();
  user = name;
  people.clear();
  for (const id of watch) people.set(id, "unknown");
  signIns = 0;
  rememberInAddress();
  sessionStorage.setItem(SESSION_KEY, location.search);
  open();
}

function open() {
  session = openSession({ key: config.key, port: config.nodePorts[node - 1], user, watch: [...people.keys()] }, { ...handlers, ...lobby.handlers(user) });
  setState("connecting");
}

function signOut() {
  session.disconnect();
  session = null;
  user = "";
  people.clear();
  lobby.forget();
  sessionStorage.removeItem(SESSION_KEY);
  tell(explain.signedOut());
  setState("signed out");
  byId("name").focus();
}

function move(to) {
  node = to;
  rememberInAddress();
  if (session) {
    session.disconnect();
    signIns = 0;
    tell(explain.moving(node));
    open();
  }
  render();
}

// Keeps the choices in the address, so that a reload (and a copied address) means the same.
function rememberInAddress() {
  const chosen = user ? { name: user, watch: [...people.keys()] } : readForm();
  history.replaceState(null, "", addressOf(node, chosen.name, chosen.watch));
}

function addressOf(number, name, watch) {
  return `?${new URLSearchParams({ node: number, name, watch: watch.join(",") })}`;
}

// What happens to the session

const handlers = {
  state: (current) => setState(current),
  connected: (socketId) => tell(explain.connected(node, socketId)),
  signedIn(wire) {
    signIns += 1;
    awaitsFirstState = true;
    tell(explain.signedIn(display(user), signIns > 1), wire);
    setState("signed in");
  },
  presence(changes, wire) {
    for (const status of ["offline", "online"]) for (const id of changes[status]) people.set(id, status);
    const named = { offline: changes.offline.map(display), online: changes.online.map(display) };
    tell(explain.presence(named, awaitsFirstState), wire);
    if (!awaitsFirstState) diagram.pulse("presence", "bus");
    awaitsFirstState = false;
    render();
  },
  message(data, wire) {
    tell(explain.message(display(String(data.from)), data.node, data.text, config.nodePorts.length), wire);
    diagram.pulse("message", "backend");
  },
  closed(code, reason) {
    if (code === 4200) diagram.pulse("termination", "backend");
    tell(explain.closed(code, reason));
  },
  trouble: (text, wire) => tell(explain.trouble(text), wire),
};

function tell([kind, title, why], wire) {
  timeline.add(kind, title, why, wire);
}

function setState(to) {
  state = to;
  if (state !== "signed in") for (const id of people.keys()) people.set(id, "unknown");
  render();
}

// Reaching someone: through the backend, which alone may

async function ask(path, body) {
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error((await response.json()).error);
    return true;
  } catch (error) {
    tell(explain.trouble(`The backend could not do it. ${error.message}`));
    return false;
  }
}

// Asks for something about the person who is chosen; who that was, or null if it could not be done.
async function askAbout(action, body) {
  const target = chosenTarget();
  return (await ask(`/users/${encodeURIComponent(target)}/${action}`, body)) ? target : null;
}

async function send() {
  const text = byId("text").value.trim();
  if (!text) return byId("text").focus();
  const target = await askAbout("messages", { from: user, node, text });
  if (target && target !== user) tell(explain.sent(display(target), text, people.get(target) === "offline"));
}

async function terminate() {
  const target = await askAbout("terminate", {});
  if (target && target !== user) tell(explain.terminated(display(target)));
}

// Drawing the state

function render() {
  const isOpen = session !== null, isSignedIn = state === "signed in";
  byId("sign-in").hidden = isOpen;
  byId("signed-in").hidden = !isOpen;
  byId("leave").hidden = !isOpen;
  byId("you-title").textContent = isOpen ? `You are ${display(user)}` : "Who are you?";
  byId("state").textContent = stateText();
  byId("state-dot").className = `dot ${isSignedIn ? "online" : state === "disconnected" ? "" : "waiting"}`;
  byId("node-hint").textContent = explain.hint(state);
  byId("toggle").textContent = state === "disconnected" ? "Reconnect" : "Disconnect";
  document.title = isOpen ? `${display(user)} · node ${node} · Usher demo` : "Usher demo";
  diagram.place({ node, name: isOpen ? display(user) : "", connected: isSignedIn || state === "connected" });
  byId("caption").textContent = explain.place(node, config.nodePorts.length, isSignedIn);
  renderPeople();
  lobby.render(user, isSignedIn);
  renderNodes();
  renderSteps(isSignedIn);
}

// The people you watch, and yourself: each can be chosen as the one to reach.
function renderPeople() {
  const ids = user ? [...people.keys(), user] : [];
  byId("reach").hidden = !user;
  byId("people-hint").textContent = explain.people(people.size, Boolean(user));
  renderChoices(byId("people"), "target", ids, makePerson, chosenTarget() ?? ids[0]);
  for (const status of byId("people").querySelectorAll(".status")) showStatus(status);
  nameTarget();
}

function makePerson(id) {
  const avatar = make("span", "avatar", display(id).charAt(0));
  avatar.ariaHidden = "true";
  const status = make("span", "status");
  status.dataset.id = id;
  status.append(make("span", "dot"), make("span"));
  return [avatar, make("span", "who", display(id)), status];
}

function showStatus(place) {
  const status = people.get(place.dataset.id) ?? "you";
  const [dot, text] = place.children;
  place.className = `status is-${status}`;
  dot.className = `dot ${status}`;
  dot.hidden = status === "you";
  text.textContent = status;
}

function chosenTarget() {
  return document.querySelector("#people :checked")?.value;
}

function nameTarget() {
  const target = chosenTarget();
  document.querySelector("label[for=text]").textContent = target === user ? "Message to yourself" : `Message to ${display(target ?? "")}`;
  byId("terminate").textContent = target === user ? "Throw yourself out" : `Throw ${display(target ?? "")} out`;
}

function renderNodes() {
  const numbers = config.nodePorts.map((_, index) => String(index + 1));
  renderChoices(document.querySelector("#nodes .segments"), "node", numbers, (number) => [make("span", "", `Node ${number}`)], String(node));
}

function stateText() {
  switch (state) {
    case "signed in": return `Signed in, on node ${node}`;
    case "connected": return "Signing in …";
    case "disconnected": return "Disconnected";
    default: return "Connecting …";
  }
}

function renderSteps(isSignedIn) {
  const metSomeone = [...people.values()].includes("online");
  const done = { signin: isSignedIn, second: isSignedIn && metSomeone, watch: false };
  const now = Object.keys(done).find((step) => !done[step]);
  for (const item of byId("steps").children) {
    item.className = done[item.dataset.step] ? "done" : item.dataset.step === now ? "now" : "";
    item.ariaCurrent = item.dataset.step === now ? "step" : null;
  }
  renderOtherTab();
}

// The link that opens the first person you watch, on the next node, watching you and the others.
function renderOtherTab() {
  const { name, watch } = user ? { name: user, watch: [...people.keys()] } : readForm();
  const other = watch[0] ?? CAST.find((id) => id !== name);
  const next = (node % config.nodePorts.length) + 1;
  const link = byId("other-tab");
  link.href = addressOf(next, other, [name, ...watch].filter((id) => id && id !== other));
  link.textContent = `second tab, as ${display(other)} on node ${next}`;
}

// Start

function fillForm() {
  const asked = new URLSearchParams(location.search);
  const name = asked.get("name") ?? CAST[node - 1];
  byId("name").value = display(name);
  const watch = asked.get("watch") ?? CAST.slice(0, 3).filter((id) => id !== name).join(",");
  byId("watch").value = watch.split(",").filter(Boolean).map(display).join(", ");
}

function listen() {
  const onSubmit = (id, action) => byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    action();
  });
  onSubmit("sign-in", () => {
    signIn();
    if (session) byId("you-title").focus();
  });
  onSubmit("reach", send);
  byId("sign-in").addEventListener("input", render);
  byId("terminate").addEventListener("click", terminate);
  byId("sign-out").addEventListener("click", signOut);
  byId("toggle").addEventListener("click", () => (state === "disconnected" ? session.reconnect() : disconnect()));
  byId("nodes").addEventListener("change", (event) => move(Number(event.target.value)));
  byId("people").addEventListener("change", nameTarget);
}

function disconnect() {
  session.disconnect();
  tell(explain.disconnected());
}

function start() {
  fillForm();
  listen();
  render();
  if (!window.Pusher) {
    byId("notice").textContent = "pusher-js could not be loaded. Without the internet, start the demo with --pusher-js PATH.";
    byId("notice").hidden = false;
  } else if (sessionStorage.getItem(SESSION_KEY) === location.search) {
    signIn(); // a reload: back before anybody heard of it
  }
}

start();
