/** Quantiles for confidence bounds, by published approximations that need nothing but a logarithm and a root. */

/**
 * The value that a standard normal variable exceeds with probability p, 0 < p <= 0.5. Abramowitz and Stegun, Handbook of Mathematical
 * Functions, 26.2.23; the error is below 4.5e-4.
 */
export function normalQuantile(p: number): number {
  const t = Math.sqrt(-2 * Math.log(p));
  return t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
}

/**
 * The value that Student's t with these degrees of freedom exceeds with probability p, 0 < p <= 0.5: the expansion 26.7.5 of the same
 * handbook in powers of 1 / freedom. Good to 1% from 7 degrees on at p = 0.003; below that it is too small, and 2 degrees must do.
 */
export function studentQuantile(p: number, freedom: number): number {
  const x = normalQuantile(p);
  const [x3, x5, x7, x9] = [x ** 3, x ** 5, x ** 7, x ** 9];
  return (
    x +
    (x3 + x) / (4 * freedom) +
    (5 * x5 + 16 * x3 + 3 * x) / (96 * freedom ** 2) +
    (3 * x7 + 19 * x5 + 17 * x3 - 15 * x) / (384 * freedom ** 3) +
    (79 * x9 + 776 * x7 + 1482 * x5 - 1920 * x3 - 945 * x) / (92_160 * freedom ** 4)
  );
}
