/**
 * Deep equality as `@std/assert` defines it: structure and constructor count, 0 and −0 are the
 * same, NaN equals itself. node:util's isDeepStrictEqual differs in −0, hence this module.
 *
 * @module
 */

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** An object without a constructor (`Object.create(null)`) compares like a plain one. */
function constructorOf(value: object): unknown {
  return value.constructor ?? Object;
}

/** Value of an object that is compared as one value; undefined for all others. */
function scalarOf(value: object): unknown {
  if (value instanceof Date) return value.getTime();
  if (value instanceof RegExp || value instanceof URL) return String(value);
  return undefined;
}

/** One comparison; `seen` ends the recursion in cyclic structures. */
class Comparison {
  readonly #seen = new Map<object, object>();

  values(a: unknown, b: unknown): boolean {
    if (a === b || Object.is(a, b)) return true;
    if (!isObject(a) || !isObject(b)) return false;
    if (constructorOf(a) !== constructorOf(b)) return false;
    if (this.#seen.get(a) === b) return true;
    this.#seen.set(a, b);
    return this.#objects(a, b);
  }

  #objects(a: object, b: object): boolean {
    const scalar = scalarOf(a);
    if (scalar !== undefined) return Object.is(scalar, scalarOf(b));
    if (a instanceof Map) return this.#maps(a, b as Map<unknown, unknown>);
    if (a instanceof Set) return this.#sets(a, b as Set<unknown>);
    // the stack holds class, message and place: only errors from one place are equal
    if (a instanceof Error && a.stack !== (b as Error).stack) return false;
    if (a instanceof ArrayBuffer || a instanceof SharedArrayBuffer) {
      return this.values(new Uint8Array(a), new Uint8Array(b as ArrayBufferLike));
    }
    if (ArrayBuffer.isView(a) && !(a instanceof DataView)) {
      return sameElements(a as Uint8Array, b as Uint8Array);
    }
    return this.#properties(a, b);
  }

  #properties(a: object, b: object): boolean {
    const keys = Reflect.ownKeys(a).filter((key) => isEnumerable(a, key));
    const other_count = Reflect.ownKeys(b).filter((key) => isEnumerable(b, key)).length;
    if (keys.length !== other_count) return false;
    if (Array.isArray(a) && a.length !== (b as unknown[]).length) return false;
    return keys.every((key) =>
      isEnumerable(b, key) && this.values(Reflect.get(a, key), Reflect.get(b, key))
    );
  }

  #maps(a: Map<unknown, unknown>, b: Map<unknown, unknown>): boolean {
    if (a.size !== b.size) return false;
    for (const [key, value] of a) {
      if (b.has(key) && this.values(value, b.get(key))) continue;
      if (!isObject(key)) return false;
      const pairs = [...b];
      if (!pairs.some(([k, v]) => this.values(key, k) && this.values(value, v))) return false;
    }
    return true;
  }

  #sets(a: Set<unknown>, b: Set<unknown>): boolean {
    if (a.size !== b.size) return false;
    for (const value of a) {
      if (b.has(value)) continue;
      if (!isObject(value) || ![...b].some((other) => this.values(value, other))) return false;
    }
    return true;
  }
}

function isEnumerable(value: object, key: PropertyKey): boolean {
  return Object.prototype.propertyIsEnumerable.call(value, key);
}

/** Element by element, without the key list that millions of elements would need. */
function sameElements(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i] && !(Number.isNaN(a[i]) && Number.isNaN(b[i]))) return false;
  }
  return true;
}

/**
 * Tells whether two values are structurally equal.
 *
 * @param a One value.
 * @param b The other value.
 * @returns True when they are equal.
 */
export function equal(a: unknown, b: unknown): boolean {
  return new Comparison().values(a, b);
}
