// One signed-in user on one node, by pusher-js as it comes: this file is what an application of yours would contain.
// pusher-js reconnects and signs in again by itself; the handlers hear what happened, and the message that told of it.

/* global Pusher */

const CONNECTION_LOST = 1006;
const LOBBY = "presence-lobby";
const HEADLINES = "cache-headlines";

// Connects to the node on `port` and signs in as `user`, who watches the ids in `watch`. `handlers` has a function for each
// thing that can happen: see the calls below. Returns the means to `disconnect` and `reconnect`, and to leave the lobby and
// enter it again.
export function openSession({ key, port, user, watch }, handlers) {
  const pusher = new Pusher(key, {
    cluster: "usher", // pusher-js insists on one; wsHost and wsPort decide
    wsHost: location.hostname,
    wsPort: port,
    forceTLS: false,
    enabledTransports: ["ws"],
    userAuthentication: { endpoint: "/pusher/user-auth", params: { name: user, watch: watch.join(",") } },
    channelAuthorization: { endpoint: "/pusher/auth" }, // it knows the user by the sign-in
  });
  pusher.signin();

  const changes = { offline: [], online: [] };
  const arrived = []; // what is to be told of the message that has come, each a function of the message
  pusher.user.watchlist.bind("offline", (event) => changes.offline.push(...event.user_ids));
  pusher.user.watchlist.bind("online", (event) => changes.online.push(...event.user_ids));
  pusher.user.bind("message", (data) => arrived.push((wire) => handlers.message(data, wire)));
  pusher.user.bind("pusher:signin_error", (error) => handlers.trouble(`The backend did not vouch for you. ${error.error}`));

  function enterLobby() {
    const lobby = pusher.subscribe(LOBBY);
    lobby.bind("pusher:subscription_succeeded", ({ members }) => arrived.push((wire) => handlers.lobbyIs(Object.keys(members), wire)));
    lobby.bind("pusher:member_added", ({ id }) => arrived.push((wire) => handlers.joined(id, wire)));
    lobby.bind("pusher:member_removed", ({ id }) => arrived.push((wire) => handlers.left(id, wire)));
  }

  // The first event after the subscription is the one that was kept; all that follow are new.
  function hearHeadlines() {
    const headlines = pusher.subscribe(HEADLINES);
    let isKept = true;
    const take = (headline) => arrived.push((wire) => {
      handlers.headline(headline, isKept, wire);
      isKept = false;
    });
    headlines.bind("pusher:subscription_succeeded", () => (isKept = true));
    headlines.bind("pusher:cache_miss", () => take(null));
    headlines.bind("headline", take);
  }

  enterLobby();
  hearHeadlines();

  // Runs after the bindings above, for the same message: it adds the message itself, as pusher-js decoded it.
  pusher.connection.bind("message", (wire) => {
    if (wire.event === "pusher:signin_success") handlers.signedIn(wire);
    if (wire.event === "pusher:error") reportError(wire);
    if (changes.offline.length + changes.online.length) {
      handlers.presence({ offline: changes.offline.splice(0), online: changes.online.splice(0) }, wire);
    }
    for (const tell of arrived.splice(0)) tell(wire);
  });

  function reportError(wire) {
    const { code, message } = wire.data;
    const announcesClose = code >= 4200 && code < 4300;
    if (!announcesClose) handlers.trouble(`The node says: ${message}`, wire);
  }

  let reason = {};
  let leaving = false;
  pusher.connection.bind("error", (error) => (reason = error.data ?? error.error?.data ?? {}));
  pusher.connection.bind("state_change", ({ previous, current }) => {
    if (current === "connected") {
      leaving = false;
      handlers.connected(pusher.connection.socket_id);
    } else if (previous === "connected" && !leaving) {
      handlers.closed(reason.code ?? CONNECTION_LOST, reason.message ?? "");
    } else if (current === "unavailable" || current === "failed") {
      handlers.trouble("The node cannot be reached. Is the demo still running in its terminal?");
    }
    handlers.state(current);
    reason = {};
  });

  return {
    disconnect() {
      leaving = true;
      pusher.disconnect();
    },
    reconnect: () => pusher.connect(),
    enterLobby,
    leaveLobby: () => pusher.unsubscribe(LOBBY),
  };
}
