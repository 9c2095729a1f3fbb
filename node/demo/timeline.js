// The list of what happened: newest first, each with the reason in a sentence. Everything is set as text, never as markup.

const MOST_ENTRIES = 100;

export class Timeline {
  constructor(list, emptyHint, clearButton) {
    this.list = list;
    this.emptyHint = emptyHint;
    this.clearButton = clearButton;
    clearButton.addEventListener("click", () => this.clear());
  }

  // `kind` chooses the colour (page.css), `title` is what happened, `why` the reason; `wire` is the message, if there was one.
  add(kind, title, why, wire) {
    const entry = make("li", kind);
    const head = make("p", "head");
    head.append(make("span", "title", title), this.clock());
    entry.append(head, make("p", "why", why));
    if (wire) entry.append(this.details(wire));
    this.list.prepend(entry);
    while (this.list.children.length > MOST_ENTRIES) this.list.lastElementChild.remove();
    this.showEmpty(false);
  }

  clear() {
    this.list.replaceChildren();
    this.showEmpty(true);
    this.list.closest("section").querySelector("h2").focus();
  }

  showEmpty(empty) {
    this.emptyHint.hidden = !empty;
    this.clearButton.hidden = empty;
  }

  clock() {
    const now = new Date();
    const time = make("time", "", now.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }));
    time.dateTime = now.toISOString();
    return time;
  }

  details(wire) {
    const details = make("details", "");
    details.append(make("summary", "", "The message"), make("pre", "", JSON.stringify(wire, null, 2)));
    return details;
  }
}

// Makes an element with a class and a text.
export function make(name, kind = "", text = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.textContent = text;
  return made;
}
