/**
 * As much of a browser as the timeline's page uses, for tests: elements that remember what was done
 * to them, and a pen that remembers what it drew.
 *
 * @module
 */

/** One filled rectangle. */
export interface DrawnRect {
  readonly color: string;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

type Handler = (event: Record<string, unknown>) => void;

/** An element. */
class FakeElement {
  textContent = "";
  hidden = true;
  readonly style: Record<string, string> = {};
  readonly children: FakeElement[] = [];
  readonly offsetWidth = 100;
  readonly clientWidth = 1070;
  width = 0;
  height = 0;
  readonly handlers = new Map<string, Handler>();
  readonly pen: FakePen = new FakePen();

  addEventListener(type: string, handler: Handler): void {
    this.handlers.set(type, handler);
  }
  append(child: FakeElement): void {
    this.children.push(child);
  }
  getContext(): FakePen {
    return this.pen;
  }
  setPointerCapture(): void {}
  focus(): void {}
}

class FakePen {
  fillStyle = "";
  strokeStyle = "";
  lineWidth = 0;
  globalAlpha = 1;
  font = "";
  textAlign = "";
  textBaseline = "";
  rects: DrawnRect[] = [];
  texts: string[] = [];
  triangle_count = 0;

  clearRect(): void {
    this.rects = [];
    this.texts = [];
    this.triangle_count = 0;
  }
  fillRect(x: number, y: number, width: number, height: number): void {
    this.rects.push({ color: this.fillStyle, x, y, width, height });
  }
  fillText(text: string): void {
    this.texts.push(text);
  }
  fill(): void {
    this.triangle_count++;
  }
  strokeRect(): void {}
  setTransform(): void {}
  beginPath(): void {}
  moveTo(): void {}
  lineTo(): void {}
}

/** A page in a browser. */
export class FakeBrowser {
  readonly canvas = new FakeElement();
  readonly tip = new FakeElement();
  readonly marks = new FakeElement();
  readonly #saved = new Map<string, PropertyDescriptor | undefined>();

  /** Makes the globals of a browser, until {@linkcode close}. */
  constructor(hash = "") {
    const globals: Record<string, unknown> = {
      location: { hash },
      devicePixelRatio: 1,
      matchMedia: () => ({ addEventListener: () => {} }),
      requestAnimationFrame: (draw: () => void) => draw(),
      // A colour is its own name, so that tests can tell what a rectangle is.
      getComputedStyle: () => ({ getPropertyValue: (name: string) => name.slice(2) }),
    };
    for (const [name, value] of Object.entries(globals)) {
      this.#saved.set(name, Object.getOwnPropertyDescriptor(globalThis, name));
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    }
  }

  /** The document. */
  get document(): Document {
    const elements = new Map([
      ["canvas", this.canvas],
      ["#tip", this.tip],
      ["#marks", this.marks],
    ]);
    const document = {
      documentElement: {},
      querySelector: (selector: string) => elements.get(selector) ?? null,
      createElement: () => new FakeElement(),
    };
    return document as unknown as Document;
  }

  /** Something happens to the canvas. */
  fire(type: string, event: Record<string, unknown>): void {
    this.canvas.handlers.get(type)?.({ preventDefault: () => {}, ...event });
  }

  /** Takes the globals away again. */
  close(): void {
    for (const [name, descriptor] of this.#saved) {
      if (descriptor === undefined) Reflect.deleteProperty(globalThis, name);
      else Object.defineProperty(globalThis, name, descriptor);
    }
  }
}
