// Boards, /api/clanmon/v1/boards.
import type { Board } from '../lib/boards';
import { prefix } from '../state/config';
import { request } from './client';

export interface BoardSummary {
  name: string;
  title: string;
  description?: string;
  panels: number;
  readOnly?: string; // its file, where it cannot be changed here
  etag: string;
  error?: string; // why it cannot be shown
}

export interface BoardEntry extends BoardSummary {
  board?: Board;
}

export interface ImportReport {
  board: Board;
  panels: number;
  imported: number;
  problems: { where: string; missing: boolean; why: string }[];
}

const path = (name: string) => `/api/clanmon/v1/boards/${encodeURIComponent(name)}`;

export const boards = (signal?: AbortSignal) =>
  request<{ boards: BoardSummary[] }>('/api/clanmon/v1/boards', { ...(signal && { signal }) }).then((d) => d.boards);
export const oneBoard = (name: string, signal?: AbortSignal) =>
  request<BoardEntry>(path(name), { aside: true, ...(signal && { signal }) });
// putBoard replaces the board of that etag; without one there must not be a board yet.
export const putBoard = (name: string, board: Board, etag?: string) =>
  request<BoardEntry>(path(name), {
    method: 'PUT',
    json: board,
    aside: true,
    ...(etag && { headers: { 'If-Match': etag } }),
  });
export const deleteBoard = (name: string, etag: string) =>
  request<unknown>(path(name), { method: 'DELETE', headers: { 'If-Match': etag }, aside: true });
// importBoard reads a dashboard of Grafana, or a board; it stores nothing.
export const importBoard = (file: unknown) =>
  request<ImportReport>('/api/clanmon/v1/boards/import', { method: 'POST', json: file, aside: true });
export const fileOf = (name: string, format: 'file' | 'grafana') => `${prefix}${path(name)}?format=${format}`;
