/** Imported first by a thread (or process) that is to run TypeScript sources: tsx's own flag reaches the main thread only. */
import { register } from "tsx/esm/api";

register();
