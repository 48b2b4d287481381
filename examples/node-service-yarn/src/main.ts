import Fastify from "fastify";
import { seal } from "./seal.js";

const server = Fastify({ logger: false });

server.get<{ Params: { text: string } }>("/seal/:text", async (request) => ({
  text: request.params.text,
  seal: seal(request.params.text),
}));

const stop = () => void server.close().then(() => process.exit(0));
process.on("SIGTERM", stop);
process.on("SIGINT", stop);

await server.listen({ host: "0.0.0.0", port: Number(process.env.PORT ?? 8080) });
