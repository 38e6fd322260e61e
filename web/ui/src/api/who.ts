// Who the server says that one is.
import { request } from './client';

export interface Who {
  name: string; // '' if the server does not know
  via: 'none' | 'tailscale' | 'proxy' | 'oidc' | 'token' | 'password' | 'certificate';
  role: 'anonymous' | 'viewer' | 'operator';
  configured: boolean; // whether roles apply
  device?: string; // name in the tailnet
  unknown?: string; // why there is no name
  changesRefused?: string; // why one may not make changes
  login?: string; // path, where one can log in
  logout?: string; // path, where one has logged in
}

export const whoami = () => request<Who>('/api/clanmon/v1/whoami', { early: true });
