import assert from "node:assert/strict";
import { joinColumns, splitAlternating, splitColumns } from "../../../../src/engine/graph/operators/columns.ts";
import { multiply } from "../../../../src/engine/graph/operators/elementwise.ts";
import { linear } from "../../../../src/engine/graph/operators/matrix.ts";
import { combine, dispatch, sortByExpert } from "../../../../src/engine/graph/operators/routing.ts";
import { checkGradients, evaluate } from "../finite-differences.ts";

const x = { shape: [2, 4], data: [0, 1, 2, 3, 4, 5, 6, 7] };

describe("engine/graph/operators/columns", () => {
  it("takes parts and neighbours apart, and joins what it took apart", async () => {
    const results = await evaluate({ x }, ({ x }) => {
      const [left, right] = splitColumns(x!, [1, 3]);
      const [even, odd] = splitAlternating(x!);
      return { left: left!, right: right!, even, odd, joined: joinColumns([right!, left!]) };
    });
    assert.deepEqual(results, {
      left: [0, 4],
      right: [1, 2, 3, 5, 6, 7],
      even: [0, 2, 4, 6],
      odd: [1, 3, 5, 7],
      joined: [1, 2, 3, 0, 5, 6, 7, 4],
    });
  });

  it("has the gradients", async () => {
    const fed = { x: { shape: [3, 2, 4] }, y: { shape: [3, 2, 2] } };
    await checkGradients(fed, ({ x, y }) => {
      const [left, right] = splitColumns(x!, [2, 2]);
      const [even, odd] = splitAlternating(x!);
      return joinColumns([multiply(left!, right!), multiply(even, y!), odd]);
    });
  });

  it("has the gradients of an expert's rows, whose number is known only when it runs", async () => {
    const indices = { shape: [4, 1], data: [2n, 0n, 2n, 2n] };
    for (const apart of [splitAlternating, (x: Parameters<typeof splitAlternating>[0]) => splitColumns(x, [3, 3])]) {
      await checkGradients({ indices, x: { shape: [4, 2] }, w: { shape: [6, 2] } }, ({ indices, x, w }) => {
        const routing = sortByExpert(indices!, 3);
        const parts = dispatch(x!, routing).map((rows) => {
          const [a, b] = apart(linear(rows, w!));
          return multiply(a!, b!);
        });
        return combine(parts, routing);
      });
    }
  });
});
