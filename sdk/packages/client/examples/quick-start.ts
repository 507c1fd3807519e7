import { createClient } from "@whispr/client";
import { encryptionEngine } from "@whispr/client/encryption";

const url = "http://127.0.0.1:8000";

// A development server lets anybody sign in by a name. In your own system your backend gives the token.
const signIn = async (name = "") => {
  const answer = await fetch(`${url}/api/v1/dev/tokens`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name }),
  });
  const { token, userId } = await answer.json();
  const client = createClient({ url, getToken: () => token, engine: encryptionEngine() });
  await client.connect();
  return { client, userId };
};
// Other people at each start: without IndexedDB their keys end with this process.
const bob = await signIn(`Bob ${Date.now()}`);
const ada = await signIn(`Ada ${Date.now()}`);

bob.client.on("message", (item) => console.log(`Bob reads: ${item.text}`));
const { id } = await ada.client.createConversation({ type: "direct", members: [bob.userId] });
const conversation = ada.client.conversation(id);
const close = conversation.open(); // load the last page, be present

const message = conversation.send("hello");
message.subscribe(() => console.log(`Ada's message: ${message.getSnapshot().status}`));
await message.stored; // in the server's database; nobody has to wait for it

setTimeout(async () => {
  for (const item of conversation.getSnapshot().items) if (item.kind === "message") console.log(`In the conversation: ${item.text}, ${item.status}`);
  close();
  await Promise.all([ada.client.close(), bob.client.close()]);
}, 3_000);
