// Mirrors web/api/v1 of Prometheus: /api/v1/query and /api/v1/query_range.
export type Labels = Record<string, string>;
export type Point = [number, string];

export interface Histogram {
  count: string;
  sum: string;
  buckets?: [number, string, string, string][];
}

export interface VectorSample {
  metric: Labels;
  value?: Point;
  histogram?: [number, Histogram];
}
export interface MatrixSeries {
  metric: Labels;
  values?: Point[];
  histograms?: [number, Histogram][];
}

export type QueryData =
  | { resultType: 'vector'; result: VectorSample[] }
  | { resultType: 'matrix'; result: MatrixSeries[] }
  | { resultType: 'scalar'; result: Point }
  | { resultType: 'string'; result: Point };
