// Carries the page's forms out without reloading it. Every form also works as it is, so a browser
// without scripts, or a visitor quicker than this file, loses nothing but a little smoothness.
"use strict";

(() => {
  const QUANTITY_MAX = 99;
  const ANSWER_TIMEOUT_MS = 15000;
  const STATUS_SHOWN_MS = 7000;
  const TINTS = 6;

  const element = (id) => document.getElementById(id);
  const cards = new Map(
    [...document.querySelectorAll("[data-card]")].map((card) => [card.dataset.card, card]),
  );
  const money = (cents) => `€${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, "0")}`;

  // What the server said last, and what the page shows; they differ while changes are on their way.
  let confirmed = JSON.parse(document.body.dataset.state);
  let shown = structuredClone(confirmed);

  // Changes go out one after the other, so that the last click is also the last to arrive.
  let queue = Promise.resolve();
  let waiting = 0;

  // ---------------------------------------------------------------- asking the server

  /** One request; resolves to the visitor's state, rejects with words for the visitor. */
  async function ask(method, path, body) {
    const headers = { Accept: "application/json" };
    if (method !== "GET") headers["Idempotency-Key"] = newKey();
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), ANSWER_TIMEOUT_MS);
    let answer;
    let content = null;
    try {
      answer = await fetch(path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        credentials: "same-origin",
        signal: abort.signal,
      });
      content = await answer.json().catch(() => null);
    } catch {
      throw new Error("The shop did not answer just now. Please try again in a moment.");
    } finally {
      clearTimeout(timer);
    }
    showInstance(answer.headers.get("X-Instance"));
    if (answer.ok && content) return content;
    if (answer.status < 500 && content && typeof content.error === "string") {
      throw Object.assign(new Error(`${content.error}.`), { status: answer.status });
    }
    throw new Error(`The shop could not do that just now (${answer.status}). Please try again in a moment.`);
  }

  /** A key that is new for every wish. randomUUID exists only on secure origins. */
  function newKey() {
    if (crypto.randomUUID) return crypto.randomUUID();
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  /** Sends one wish after those before it. `expected` says what the wish itself may change. */
  function send(method, path, body, expected) {
    waiting += 1;
    queue = queue.then(async () => {
      let outcome = { done: false };
      try {
        const state = await ask(method, path, body);
        const loss = whatWasLost(confirmed, state, expected);
        confirmed = state;
        if (loss) say(loss);
        outcome = { done: true, lost: Boolean(loss) };
      } catch (problem) {
        say(problem.message);
        outcome = { done: false, status: problem.status };
      }
      waiting -= 1;
      if (waiting === 0) show(confirmed);
      return outcome;
    });
    return queue;
  }

  /** Words for a visitor whose session the answering instance does not know, or nothing. */
  function whatWasLost(before, after, expected) {
    if (expected.account) return "";
    if (before.user && !after.user) {
      return `You are signed out now: instance ${after.instance} knows of no session of yours.`;
    }
    const missing = Object.keys(before.cart).some((id) => id !== expected.product && !after.cart[id]);
    return missing ? `Instance ${after.instance} knows of another cart than the one you had.` : "";
  }

  // ---------------------------------------------------------------- showing

  function show(state) {
    shown = structuredClone(state);
    element("login").hidden = shown.user !== null;
    element("logout").hidden = shown.user === null;
    element("user").textContent = shown.user ?? "";
    showLines();
    let count = 0;
    let cents = 0;
    for (const [id, card] of cards) {
      const quantity = shown.cart[id] ?? 0;
      const button = card.querySelector(".add");
      button.value = Math.min(quantity + 1, QUANTITY_MAX);
      button.disabled = quantity >= QUANTITY_MAX;
      count += quantity;
      cents += quantity * Number(card.dataset.cents);
    }
    element("empty").hidden = count > 0;
    element("total-row").hidden = count === 0;
    element("total").textContent = money(cents);
    const badge = element("count");
    if (badge.textContent !== String(count)) {
      badge.textContent = count;
      replay(badge);
    }
  }

  /** Keeps lines that stay, so that the focus stays with them. */
  function showLines() {
    const list = element("lines");
    const present = new Map([...list.children].map((line) => [line.dataset.line, line]));
    const focused = document.activeElement;
    let focusLost = false;
    for (const [id, line] of present) {
      if (shown.cart[id]) continue;
      focusLost ||= line.contains(focused);
      line.remove();
    }
    for (const [id, card] of cards) {
      const quantity = shown.cart[id];
      if (!quantity) continue;
      const line = present.get(id) ?? newLine(id, card);
      line.querySelector(".line-sum").textContent = money(quantity * Number(card.dataset.cents));
      line.querySelector("output").textContent = quantity;
      line.querySelector(".fewer").value = quantity - 1;
      line.querySelector(".more").value = Math.min(quantity + 1, QUANTITY_MAX);
      line.querySelector(".more").disabled = quantity >= QUANTITY_MAX;
      // Moving a line that is in its place already would take the focus away from it.
      if (!line.isConnected) list.insertBefore(line, lineAfter(list, id));
    }
    if (focusLost) element("cart-title").focus();
  }

  function newLine(id, card) {
    const line = element("line").content.firstElementChild.cloneNode(true);
    const name = card.dataset.name;
    line.dataset.line = id;
    line.querySelector(".art").dataset.shelf = card.querySelector(".art").dataset.shelf;
    line.querySelector("use").setAttribute("href", `#art-${id}`);
    line.querySelector(".line-name").textContent = name;
    line.querySelector("input").value = id;
    line.querySelector(".fewer").setAttribute("aria-label", `One ${name} fewer`);
    line.querySelector("output").setAttribute("aria-label", `Quantity of ${name}`);
    line.querySelector(".more").setAttribute("aria-label", `One ${name} more`);
    line.querySelector(".remove").setAttribute("aria-label", `Remove ${name}`);
    return line;
  }

  /** The first line that stands after this product on the shelf. */
  function lineAfter(list, id) {
    const order = [...cards.keys()];
    const place = order.indexOf(id);
    return [...list.children].find((line) => order.indexOf(line.dataset.line) > place) ?? null;
  }

  function showInstance(instance) {
    if (!instance) return;
    const badge = element("badge");
    const sum = [...instance].reduce((total, character) => total + character.codePointAt(0), 0);
    badge.dataset.tint = sum % TINTS;
    element("instance").textContent = `instance ${instance}`;
    replay(badge);
  }

  /** Starts an element's short animation again. */
  function replay(target) {
    target.classList.remove("changed");
    void target.offsetWidth;
    target.classList.add("changed");
  }

  let statusTimer = 0;
  function say(text) {
    clearTimeout(statusTimer);
    element("status").textContent = text;
    statusTimer = setTimeout(() => (element("status").textContent = ""), STATUS_SHOWN_MS);
  }

  // ---------------------------------------------------------------- the visitor's wishes

  async function logIn(form) {
    const name = form.elements.name;
    const password = form.elements.password;
    const outcome = await send(
      "POST", "/api/login", { name: name.value, password: password.value }, { account: true },
    );
    password.toggleAttribute("aria-invalid", false);
    name.toggleAttribute("aria-invalid", false);
    if (outcome.done) {
      form.reset();
      say(`Welcome, ${confirmed.user}.`);
      element("logout").querySelector("button").focus();
    } else if (outcome.status) {
      const wrong = outcome.status === 401 ? password : name;
      wrong.setAttribute("aria-invalid", "true");
      wrong.focus();
      wrong.select();
    }
  }

  async function logOut() {
    const outcome = await send("POST", "/api/logout", undefined, { account: true });
    if (!outcome.done) return;
    say("You are signed out.");
    element("login").elements.name.focus();
  }

  async function setQuantity(product, quantity) {
    const before = shown.cart[product] ?? 0;
    const cart = { ...shown.cart, [product]: quantity };
    if (quantity === 0) delete cart[product];
    show({ ...shown, cart });
    const outcome = await send("PUT", `/api/cart/${product}`, { quantity }, { product });
    if (!outcome.done || outcome.lost) return;
    const name = cards.get(product).dataset.name;
    if (quantity === 0) say(`${name} taken out of the cart.`);
    else if (quantity > before) say(`${name}: ${quantity} in the cart.`);
    else say(`${name}: ${quantity} left in the cart.`);
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    const path = form.getAttribute("action");
    if (path === "/login") void logIn(form);
    else if (path === "/logout") void logOut();
    else if (path === "/cart" && event.submitter) {
      void setQuantity(form.elements.product.value, Number(event.submitter.value));
    } else return;
    event.preventDefault();
  });

  const visitAgain = () => send("GET", "/api/me", undefined, {});
  element("badge").addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    void visitAgain();
  });
  // A page that comes out of the browser's own memory shows what was, not what is.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) void visitAgain();
  });

  if (element("status").textContent) {
    say(element("status").textContent);
    history.replaceState(null, "", "/");
  }
})();
