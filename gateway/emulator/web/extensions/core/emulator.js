// Shows the queue, and the last event that came by the socket.
const socket = new WebSocket(new URL("ws", document.baseURI.replace(/^http/, "ws")));
socket.onmessage = ({ data }) => {
  if (typeof data !== "string") return;
  const message = JSON.parse(data);
  if (message.type === "status") {
    document.getElementById("queue").textContent = message.data.status.exec_info.queue_remaining;
  } else {
    document.getElementById("last").textContent = JSON.stringify(message, null, 1);
  }
};
