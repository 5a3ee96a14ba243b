// The node package `oidc-provider`, with all it keeps in memory: what bench/store compares introspection with. Prints
// where it listens. Run it in the folder into which the package was installed.
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const { default: Provider } = await import(pathToFileURL(createRequire(`${process.cwd()}/`).resolve('oidc-provider')));
const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const base = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(base, {
    clients: [{
      client_id: 'bench', client_secret: 'bench-secret', grant_types: ['client_credentials'], redirect_uris: [],
      response_types: [], token_endpoint_auth_method: 'client_secret_basic',
    }],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true, allowedPolicy: () => true },
    },
  });
  server.on('request', provider.callback());
  console.log(base);
});
