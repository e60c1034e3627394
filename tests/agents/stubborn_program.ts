/**
 * A program that asks for a graceful end and then never ends: for the test of a second SIGINT.
 *
 * @module
 */
import { AgentSignals } from "../../util/agent_signals.ts";

const signals = new AgentSignals();
signals.on_dump = () => console.log("dump");
signals.on_abort = () => console.log("abort");
signals.listen();
console.log("ready");
setInterval(() => {
  if (signals.is_stopping) console.log("stopping");
}, 5);
