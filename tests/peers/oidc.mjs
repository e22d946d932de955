// An OpenID Connect issuer that speaks as much of Entra ID's dialect as MSAL and Dovecot need.
//
// node oidc.mjs SETTINGS.json; the settings are written by oidc.py, which documents them.

import { X509Certificate, createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

import Provider from 'oidc-provider';

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const apps = new Map(settings.apps.map((app) => [app.client_id, app]));
const mount = new URL(settings.issuer).pathname;

function client(app) {
  const common = {
    client_id: app.client_id,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  };
  if (app.certificate === null) {
    return { ...common, client_secret: app.secret, token_endpoint_auth_method: 'client_secret_post' };
  }
  const key = new X509Certificate(app.certificate).publicKey.export({ format: 'jwk' });
  return { ...common, jwks: { keys: [key] }, token_endpoint_auth_method: 'private_key_jwt' };
}

const provider = new Provider(settings.issuer, {
  clients: settings.apps.map(client),
  jwks: {
    keys: [{ ...createPrivateKey(settings.key).export({ format: 'jwk' }), kid: settings.key_id, use: 'sig', alg: 'RS256' }],
  },
  routes: { token: '/token', jwks: '/keys' },
  scopes: [settings.scope],
  enabledJWA: { clientAuthSigningAlgValues: ['PS256', 'RS256'] },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      // MSAL sends a scope and no `resource`, as Entra wants it: the resource is the scope without `/.default`.
      defaultResource: () => settings.resource,
      getResourceServerInfo: () => ({
        audience: settings.resource,
        scope: settings.scope,
        accessTokenTTL: settings.token_seconds,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
  formats: {
    customizers: {
      jwt(_ctx, token, jwt) {
        // Entra's tokens say JWT too; Dovecot 2.3 refuses RFC 9068's at+jwt, and looks for the key under `azp`.
        jwt.header = { typ: 'JWT' };
        Object.assign(jwt.payload, { azp: token.clientId, appid: token.clientId, ...apps.get(token.clientId).claims });
      },
    },
  },
});

// MSAL signs one assertion and reuses it for nine minutes; Entra ID takes it again, and so does this issuer.
provider.ReplayDetection.unique = async () => true;

const answer = provider.callback();
const server = createServer(
  { cert: readFileSync(settings.certificate_file), key: readFileSync(settings.key_file) },
  (request, response) => {
    if (!request.url.startsWith(`${mount}/`)) {
      response.writeHead(404).end();
      return;
    }
    request.originalUrl = request.url; // from the two the provider learns where it is mounted
    request.url = request.url.slice(mount.length);
    answer(request, response);
  },
);
server.listen(settings.port, settings.host);
