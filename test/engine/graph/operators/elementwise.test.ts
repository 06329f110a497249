import { scalar } from "../../../../src/engine/graph/graph.ts";
import { add, divide, multiply, squareRoot, subtract, sum } from "../../../../src/engine/graph/operators/elementwise.ts";
import { checkGradients } from "../finite-differences.ts";

describe("engine/graph/operators/elementwise", () => {
  const shapes: [string, number[], number[]][] = [
    ["of one shape", [3, 4], [3, 4]],
    ["a row over a matrix", [3, 4], [4]],
    ["a column over a matrix", [3, 1], [3, 4]],
    ["a scalar over a matrix", [3, 4], []],
    ["each broadcast over the other", [3, 1], [2, 1, 4]],
  ];
  for (const [title, a, b] of shapes) {
    it(`has the gradients of add, subtract and multiply, ${title}`, async () => {
      for (const operation of [add, subtract, multiply]) {
        await checkGradients({ a: { shape: a }, b: { shape: b } }, ({ a, b }) => operation(a!, b!));
      }
    });
  }

  it("has the gradient of divide", async () => {
    const positive = [1.5, 2, 1.25, 1.75];
    await checkGradients({ a: { shape: [3, 4] }, b: { shape: [4], data: positive } }, ({ a, b }) => divide(a!, b!));
  });

  it("has the gradient of squareRoot", async () => {
    await checkGradients({ a: { shape: [4], data: [0.5, 1, 2, 3] } }, ({ a }) => squareRoot(a!));
  });

  it("adds up the gradients of a tensor that is used several times", async () => {
    await checkGradients({ a: { shape: [3] }, b: { shape: [3] } }, ({ a, b }, graph) =>
      sum([multiply(a!, a!), multiply(a!, b!), multiply(b!, scalar(graph, 3)), a!]),
    );
  });
});
