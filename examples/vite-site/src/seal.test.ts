import { expect, test } from "vitest";
import { seal } from "./seal";

test("a text has one seal", () => {
  expect(seal("")).toBe("811c9dc5");
  expect(seal("a")).toBe("e40c292c");
});
