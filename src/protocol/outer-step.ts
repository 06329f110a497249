/**
 * The outer step (docs/protocol.md, section 9): average of the accepted deltas, then SGD with Nesterov momentum as in DiLoCo (arXiv
 * 2311.08105). Every operation is one fp32 operation rounded to nearest even, in a stated order, so that the result has the same bits
 * on every machine. Writing to a Float32Array rounds once; inner results are rounded by Math.fround. (Rounding a double product or
 * sum of two fp32 values to fp32 gives the same bits as the fp32 operation, because a double has more than twice the digits.)
 */
import { ConnitoError } from "../errors.ts";

const { fround } = Math;

function shapesDiffer(what: string): ConnitoError {
  return new ConnitoError(`${what} differ in length`, {
    code: "outer-step-lengths",
    exit: "verification",
    hint: "Every delta, the base and the momentum of a tensor must have the tensor's number of elements.",
  });
}

/**
 * `(delta_1 + delta_2 + .. + delta_K) * (1 / K)`: added from the left, the sum beginning with delta_1 itself. The order of `deltas` is
 * part of the rule, since rounding makes another order another result.
 */
export function averageDeltas(deltas: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const [first, ...rest] = deltas;
  if (first === undefined) throw new Error("nothing to average");
  const sum = new Float32Array(first);
  for (const delta of rest) {
    if (delta.length !== sum.length) throw shapesDiffer("The deltas of one tensor");
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + (delta[i] as number);
  }
  const share = fround(1 / deltas.length);
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) * share;
  return sum;
}

export interface OuterStep {
  /** The tensor's weights in the base version, as fp32. */
  readonly base: Float32Array;
  /** What `averageDeltas` gave. */
  readonly gradient: Float32Array;
  /** The momentum kept from the tensor's last merge; zeros where there was none. */
  readonly momentum?: Float32Array | undefined;
  readonly learningRate: number;
  readonly mu: number;
  readonly scale: number;
}

export interface OuterStepResult {
  /** New weights in fp32; the caller rounds them to the tensor's own dtype. */
  readonly weights: Float32Array<ArrayBuffer>;
  readonly momentum: Float32Array<ArrayBuffer>;
}

/** `v' = mu * v + g`, `step = lr * (g + mu * v')`, `new = base + scale * step`; mu, lr and scale are rounded to fp32 first. */
export function outerStep(step: OuterStep): OuterStepResult {
  const { base, gradient } = step;
  const before = step.momentum ?? new Float32Array(base.length);
  if (gradient.length !== base.length || before.length !== base.length) throw shapesDiffer("Base, gradient and momentum of one tensor");
  const [rate, mu, scale] = [fround(step.learningRate), fround(step.mu), fround(step.scale)];
  const weights = new Float32Array(base.length);
  const momentum = new Float32Array(base.length);
  for (let i = 0; i < base.length; i++) {
    const g = gradient[i] as number;
    const v = fround(fround(mu * (before[i] as number)) + g);
    const move = fround(rate * fround(g + fround(mu * v)));
    momentum[i] = v;
    weights[i] = (base[i] as number) + fround(scale * move);
  }
  return { weights, momentum };
}
