// <token-stream>: text that arrives piece by piece. append(offset, delta) may be called twice with the same piece, and
// writes to the page once a frame at most. A piece that leaves a gap is not shown; the event "resync" asks for the rest.

export class TokenStream extends HTMLElement {
  #text = "";
  #waits = false;

  get text() {
    return this.#text;
  }

  begin() {
    this.#text = "";
    this.textContent = "";
    this.setAttribute("aria-busy", "true");
  }

  append(offset, delta) {
    const known = this.#text.length - offset;
    if (known < 0) {
      this.dispatchEvent(new CustomEvent("resync", { detail: { from: this.#text.length }, bubbles: true }));
      return;
    }
    if (known >= delta.length) return;
    this.#text += delta.slice(known);
    this.#write();
  }

  add(delta) {
    this.append(this.#text.length, delta);
  }

  end() {
    this.removeAttribute("aria-busy");
    this.#write();
  }

  #write() {
    if (this.#waits) return;
    this.#waits = true;
    // In a hidden tab no frames come; the text is written when it is shown again.
    requestAnimationFrame(() => {
      this.#waits = false;
      this.textContent = this.#text;
    });
  }
}

customElements.define("token-stream", TokenStream);
