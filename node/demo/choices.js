// Radio buttons that look like what they choose between. A person on the list and a node of the picker are both such.

import { make } from "./timeline.js";

// Fills `place` with a labelled radio button for each value. Those that are there already stay, and keep the focus.
export function renderChoices(place, name, values, makeParts, checked) {
  const signature = JSON.stringify(values);
  if (place.dataset.values !== signature) {
    place.dataset.values = signature;
    place.replaceChildren(...values.map((value) => {
      const label = make("label");
      const input = Object.assign(make("input"), { type: "radio", name, value });
      label.append(input, ...makeParts(value));
      return label;
    }));
  }
  for (const input of place.querySelectorAll("input")) input.checked = input.value === checked;
}
