/**
 * What this project uses of `@std/testing/bdd`: Deno runs node:test's suites as its own tests.
 *
 * @module
 */
export {
  after as afterAll,
  afterEach,
  before as beforeAll,
  beforeEach,
  describe,
  it,
} from "node:test";
