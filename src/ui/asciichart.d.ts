/** asciichart ships no types. What is used of it: https://github.com/kroitor/asciichart */
declare module "asciichart" {
  namespace asciichart {
    /** An escape sequence that switches a colour on. */
    type Color = string;
    interface PlotConfig {
      min?: number;
      max?: number;
      height?: number;
      colors?: Color[];
      format?: (value: number, index: number) => string;
    }
    const cyan: Color;
    const yellow: Color;
    const magenta: Color;
    const green: Color;
    const blue: Color;
    const red: Color;
    const reset: Color;
    function plot(series: number[][], config?: PlotConfig): string;
  }
  export default asciichart;
}
