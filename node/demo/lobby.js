// The card of the lobby: who is in it (a presence channel), and its last headline (a cache channel). It hears from the
// session what happens, has it told, and shows it, as text; what its reader wants goes to the page.

import { explain } from "./explain.js";
import { display } from "./names.js";
import { make } from "./timeline.js";

const byId = (id) => document.getElementById(id);

export class Lobby {
  // `page` has the functions `enter`, `leave` and `publish(text)` for what the reader wants, and `tell`, `pulse` and `render`.
  constructor(page) {
    this.page = page;
    this.forget();
    byId("lobby-toggle").addEventListener("click", () => (this.isIn ? this.leave() : page.enter()));
    byId("publish").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = byId("headline-text").value.trim();
      if (text) page.publish(text);
      else byId("headline-text").focus();
    });
  }

  // The reader is nobody: nothing is known.
  forget() {
    this.isIn = false;
    this.members = [];
    this.headline = null;
  }

  leave() {
    this.isIn = false;
    this.members = [];
    this.page.leave();
    this.page.tell(explain.youLeft());
    this.page.render();
  }

  // What the session tells of. A reconnection that finds everything as it was is not told.
  handlers(user) {
    return {
      lobbyIs: (ids, wire) => {
        const sorted = [...ids].sort();
        const isNews = sorted.join() !== [...this.members].sort().join();
        this.isIn = true;
        this.members = sorted;
        this.show(isNews && explain.lobbyIs(ids.filter((id) => id !== user).map(display)), wire);
      },
      joined: (id, wire) => {
        this.members = [...this.members, id];
        this.show(explain.joined(display(id)), wire, "presence", "bus");
      },
      left: (id, wire) => {
        this.members = this.members.filter((member) => member !== id);
        this.show(explain.left(display(id)), wire, "presence", "bus");
      },
      headline: (headline, isKept, wire) => {
        const isNews = headline && !(isKept && headline.text === this.headline?.text && headline.from === this.headline?.from);
        this.headline = headline;
        this.suggest();
        const news = isNews && explain.headline(display(String(headline.from)), String(headline.text), isKept);
        this.show(news, wire, ...(isKept ? [] : ["message", "backend"]));
      },
    };
  }

  // Once a suggested headline is published, the next one is suggested, to everybody.
  suggest() {
    const input = byId("headline-text");
    const place = explain.headlines.indexOf(this.headline?.text);
    if (input.value === this.headline?.text && place >= 0) input.value = explain.headlines[(place + 1) % explain.headlines.length];
  }

  show(news, wire, kind, from) {
    if (news) this.page.tell(news, wire);
    if (kind) this.page.pulse(kind, from);
    this.page.render();
  }

  // Shows what is known to `user` ("" is nobody), who `isSignedIn` or is on the way.
  render(user, isSignedIn) {
    const isIn = this.isIn && isSignedIn;
    byId("lobby-toggle").hidden = !isSignedIn;
    byId("lobby-toggle").textContent = isIn ? "Leave" : "Enter";
    byId("members").hidden = !isIn;
    byId("members").replaceChildren(...this.members.map((id) => makeMember(id, id === user)));
    byId("headline").hidden = byId("publish").hidden = !user;
    byId("headline-now").textContent = this.headline ? String(this.headline.text) : "Nobody has published one yet.";
    byId("headline-now").className = this.headline ? "" : "none";
    byId("headline-by").textContent = this.headline ? `by ${display(String(this.headline.from))}` : "";
    byId("lobby-hint").textContent = explain.lobby(Boolean(user), isSignedIn, isIn);
  }
}

function makeMember(id, isReader) {
  const avatar = make("span", "avatar", display(id).charAt(0));
  avatar.ariaHidden = "true";
  const member = make("li");
  member.append(avatar, make("span", "who", display(id)), ...(isReader ? [make("span", "hint", "you")] : []));
  return member;
}
