// The drawing of nodes, NATS and "you are here". Pure geometry in pixels of the container's width, drawn anew when that
// changes, so that texts keep their size on a phone. It knows nothing of Pusher.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 196;
const YOU_Y = 16, NODE_Y = 64, NODE_HEIGHT = 46, BUS_Y = 160, BUS_HEIGHT = 30;
const HERE = "you are here";
const PULSE_MILLISECONDS = 900;

export class Diagram {
  // `container` is emptied; `count` is the number of nodes. The backend talks to the last of them.
  constructor(container, count) {
    this.container = container;
    this.count = count;
    this.you = { node: 1, name: "", connected: false };
    new ResizeObserver(() => this.draw()).observe(container);
  }

  // Says where the reader is. `connected` false draws the wire to the node as open.
  place(you) {
    this.you = you;
    this.draw();
  }

  draw() {
    const width = this.container.clientWidth;
    if (!width) return;
    this.column = width / (this.count + 1);
    const svg = element("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": this.describe() });
    svg.append(...this.drawBus(), ...this.drawBackend());
    for (let node = 1; node <= this.count; node++) svg.append(this.drawNode(node));
    svg.append(this.drawYou());
    this.svg = svg;
    this.container.replaceChildren(svg);
  }

  describe() {
    const link = this.you.connected ? "connected to" : "not connected to";
    return `${this.count} nodes share one NATS server. You are ${link} node ${this.you.node}. The backend talks to node ${this.count}.`;
  }

  x(node) {
    return (node - 0.5) * this.column;
  }

  drawBus() {
    const right = this.x(this.count) + this.boxWidth() / 2;
    const left = this.x(1) - this.boxWidth() / 2;
    return [
      element("rect", { class: "bus", x: left, y: BUS_Y, width: right - left, height: BUS_HEIGHT, rx: BUS_HEIGHT / 2 }),
      label("NATS", (left + right) / 2, BUS_Y + BUS_HEIGHT / 2, "bus-name"),
    ];
  }

  drawNode(node) {
    const x = this.x(node), here = node === this.you.node;
    const group = element("g", { class: here ? "here" : "" });
    group.append(
      element("path", { class: "wire", d: `M${x} ${NODE_Y + NODE_HEIGHT}V${BUS_Y}` }),
      element("rect", { class: "box", x: x - this.boxWidth() / 2, y: NODE_Y, width: this.boxWidth(), height: NODE_HEIGHT, rx: 10 }),
      label(this.column < 60 ? node : `Node ${node}`, x, NODE_Y + NODE_HEIGHT / 2),
    );
    return group;
  }

  drawBackend() {
    const x = this.x(this.count + 1), from = this.x(this.count) + this.boxWidth() / 2, y = NODE_Y + NODE_HEIGHT / 2;
    const narrow = this.column < 60;
    return [
      element("path", { class: "wire", d: `M${from} ${y}H${x - this.boxWidth() / 2}` }),
      element("rect", { class: "box", x: x - this.boxWidth() / 2, y: NODE_Y, width: this.boxWidth(), height: NODE_HEIGHT, rx: NODE_HEIGHT / 2, "stroke-dasharray": "4 4" }),
      label(narrow ? "App" : "Backend", x, y),
      ...(this.column - this.boxWidth() > 50 ? [label("HTTP", (from + x - this.boxWidth() / 2) / 2, y - 12, "small")] : []),
    ];
  }

  drawYou() {
    const x = this.x(this.you.node), text = this.you.name || HERE;
    const group = element("g", { class: this.you.connected ? "here" : "away" });
    const short = text.length > 14 ? `${text.slice(0, 13)}…` : text;
    const half = Math.max(26, short.length * 4 + 12);
    const middle = Math.max(half, x);
    group.append(
      element("path", { class: "wire", d: `M${x} ${YOU_Y}V${NODE_Y}` }),
      element("rect", { class: "you", x: middle - half, y: YOU_Y - 14, width: 2 * half, height: 28, rx: 14 }),
      label(short, middle, YOU_Y, "you-name"),
    );
    if (this.you.name) group.append(label(HERE, middle + half + 48, YOU_Y, "small"));
    return group;
  }

  boxWidth() {
    return Math.min(112, this.column - 14);
  }

  // Sends a dot from where something began ("backend" or "bus") to the reader. Does nothing for who dislikes motion.
  pulse(kind, from) {
    if (!this.svg || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const middle = NODE_Y + NODE_HEIGHT / 2, bus = BUS_Y + BUS_HEIGHT / 2;
    const mine = this.x(this.you.node), last = this.x(this.count);
    const start = from === "backend" ? `M${this.x(this.count + 1)} ${middle}H${last}` : `M${(this.x(1) + last) / 2} ${bus}`;
    const viaBus = from === "backend" && this.you.node === this.count ? "" : `V${bus}H${mine}`;
    const dot = element("circle", { class: `pulse ${kind}`, r: 6 });
    dot.style.offsetPath = `path("${start}${viaBus}V${YOU_Y}")`;
    this.svg.append(dot);
    const flight = dot.animate({ offsetDistance: ["0%", "100%"] }, { duration: PULSE_MILLISECONDS, easing: "ease-in-out" });
    flight.onfinish = () => dot.remove();
  }
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function label(text, x, y, kind = "") {
  const made = element("text", { x, y, dy: "0.35em", class: kind });
  made.textContent = text;
  return made;
}
