// What this browser keeps of the playground for one person: what was asked, and which answers were chosen blindly.

const MOST = 30;

/** A list of entries in the browser's memory, the newest first. What is there and not ours counts as nothing. */
export class KeptList {
  constructor(name, person) {
    this.key = `tuningfork-${name}:${person}`;
  }

  get entries() {
    try {
      const kept = JSON.parse(localStorage.getItem(this.key) ?? "[]");
      return Array.isArray(kept) ? kept : [];
    } catch {
      return [];
    }
  }

  add(entry, same = () => false) {
    const entries = [entry, ...this.entries.filter((each) => !same(each))].slice(0, this.most ?? MOST);
    try {
      localStorage.setItem(this.key, JSON.stringify(entries));
    } catch {
      // The browser keeps nothing, or no more: what was asked is still in the address.
    }
  }

  clear() {
    localStorage.removeItem(this.key);
  }
}
