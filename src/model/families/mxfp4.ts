/**
 * Matrices in MXFP4, as gpt-oss is published (OCP Microscaling Formats 1.0): in the place of `NAME` stand `NAME_blocks`, 32 values along the last
 * dimension in 16 bytes, and `NAME_scales`, a power of two for each block.
 */

export const blockValues = 32;

export function blocksName(name: string): string {
  return `${name}_blocks`;
}

/** The name of what the blocks hold; of any other tensor its own. */
export function unpackedName(name: string): string {
  return name.replace(/_blocks$/, "");
}

export function scalesName(name: string): string {
  return `${name}_scales`;
}
