// What people type as names, the ids that these become, and how an id is shown.

export const CAST = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan"];
const ID_PATTERN = /^[-a-z0-9_=@.]+$/;

// The ids in a text with commas.
export function toIds(text) {
  return text.split(",").map((part) => part.trim().toLowerCase().replace(/\s+/g, "-")).filter(Boolean);
}

export function isId(text) {
  return ID_PATTERN.test(text);
}

export function display(id) {
  return id.charAt(0).toUpperCase() + id.slice(1);
}
