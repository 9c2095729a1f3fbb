/* Real clients and the official Node SDK, driven by tests through lines of JSON: commands on stdin, reports on stdout.

   Commands                                                          what is reported for them
   {tab, do: "open", library, key, port, options}                    {tab, saw: [...]} for everything its user sees
   {tab, do: "sign in" | "connect" | "disconnect"}
   {tab, do: "send", event, data}                                    as the library sends, with nothing checked
   {tab, do: "authenticate", socket_id, error, token}                the answer to {tab, asks: socket_id}
   {tab, do: "subscribe", channel}                                   {tab, saw: [channel, event, data]} for all of it
   {tab, do: "unsubscribe", channel}
   {tab, do: "listen", kind, name}                                   {tab, saw: [channel, what, data]}, by Echo's own callbacks
   {tab, do: "whisper", kind, name, data} | {tab, do: "leave", name}
   {tab, do: "trigger", channel, event, data}                        whether the library lets it go is its affair
   {tab, do: "authorize", socket_id, channel, error, token}          the answer to {tab, asks: socket_id, channel}
   {call, sdk: {...}, method, arguments}                             {call, result} or {call, error: {status, text}}

   pusher-js for Node is its build with encryption, which brings tweetnacl along.
   A tab decides nothing: who it signs in as is asked for in every sign-in, unless `options` name an endpoint.
   The process ends with its stdin. */

import readline from "node:readline"

import Echo from "laravel-echo"
import PusherServer from "pusher"
import Pusher from "pusher-js"

const BOUND = ["news", "marker"]
const LISTENED = ["Shipped", ".news", ".pusher:cache_miss", ".pusher:subscription_count"]
const tabs = new Map()

function report(line) {
  process.stdout.write(JSON.stringify(line) + "\n")
}

class Tab {
  constructor(name, { library, key, port, options }) {
    this.name = name
    this.waiting = new Map()
    const settings = {
      cluster: "none",
      wsHost: "127.0.0.1",
      wsPort: port,
      forceTLS: false,
      enabledTransports: ["ws"],
      userAuthentication: { customHandler: (request, answer) => this.ask(request.socketId, answer) },
      channelAuthorization: { customHandler: (request, answer) => this.askFor(request, answer) },
      ...options,
    }
    if (library === "laravel-echo") {
      this.echo = new Echo({ broadcaster: "pusher", key, Pusher, ...settings })
    }
    this.pusher = this.echo ? this.echo.connector.pusher : new Pusher(key, settings)
    this.watch()
  }

  saw(...what) {
    report({ tab: this.name, saw: what })
  }

  watch() {
    const { connection, user } = this.pusher
    connection.bind("state_change", ({ current }) => report({ tab: this.name, saw: [current], socket_id: connection.socket_id }))
    connection.bind("error", ({ type, data, error }) => {
      const { code, message } = data ?? error?.data ?? {}
      this.saw(type === "PusherError" ? "error" : "socket error", code ?? null, message ?? `${error}`)
    })
    connection.bind("message", ({ event, channel }) => {
      if (event === "pusher_internal:subscription_succeeded") this.saw("subscribed", channel)
    })
    this.pusher.bind("pusher:signin_success", ({ user_data }) => this.saw("signed in", user_data))
    user.bind("pusher:signin_error", ({ error }) => this.saw("signin error", error))
    for (const name of BOUND) user.bind(name, (data) => this.saw(name, data))
    user.bind_global((name, data) => {
      if (!BOUND.includes(name) && !name.startsWith("pusher:")) this.saw("event", name, data)
    })
    for (const name of ["online", "offline"]) user.watchlist.bind(name, ({ user_ids }) => this.saw(name, user_ids))
  }

  ask(socketId, answer) {
    this.waiting.set(socketId, answer)
    report({ tab: this.name, asks: socketId })
  }

  askFor({ socketId, channelName }, answer) {
    this.waiting.set(`${socketId} ${channelName}`, answer)
    report({ tab: this.name, asks: socketId, channel: channelName })
  }

  subscribe(name) {
    const channel = this.pusher.subscribe(name)
    channel.bind_global((event, data) => this.saw(name, event, data))
    channel.bind("client-told", (_, { user_id } = {}) => this.saw(name, "told by", user_id ?? null))
  }

  listen({ kind, name }) {
    const channel = this.echo[kind](name)
    const told = (what) => (data) => this.saw(channel.name, what, data ?? null)
    if (kind === "join") channel.here(told("here")).joining(told("joining")).leaving(told("leaving"))
    else channel.subscribed(told("subscribed"))
    channel.error(told("refused")).listenForWhisper("told", told("whisper"))
    for (const event of LISTENED) channel.listen(event, told(event))
  }

  perform(command) {
    switch (command.do) {
      case "sign in":
        return this.echo ? this.echo.connector.signin() : this.pusher.signin()
      case "connect":
        return this.pusher.connect()
      case "disconnect":
        return this.pusher.disconnect()
      case "send":
        return this.pusher.send_event(command.event, command.data)
      case "subscribe":
        return this.subscribe(command.channel)
      case "unsubscribe":
        return this.pusher.unsubscribe(command.channel)
      case "listen":
        return this.listen(command)
      case "whisper":
        return this.echo[command.kind](command.name).whisper("told", command.data)
      case "leave":
        return this.echo.leave(command.name)
      case "trigger":
        return this.pusher.channel(command.channel).trigger(command.event, command.data)
      case "authorize": {
        const key = `${command.socket_id} ${command.channel}`
        const answer = this.waiting.get(key)
        this.waiting.delete(key)
        return command.error ? answer(new Error(command.error), null) : answer(null, command.token)
      }
      case "authenticate": {
        const answer = this.waiting.get(command.socket_id)
        this.waiting.delete(command.socket_id)
        return command.error ? answer(new Error(command.error), null) : answer(null, command.token)
      }
    }
    throw new Error(`unknown command: ${command.do}`)
  }
}

async function call({ call, sdk, method, arguments: values }) {
  try {
    const result = await new PusherServer(sdk)[method](...values)
    report({ call, result: typeof result.json === "function" ? await result.json() : result })
  } catch (error) {
    report({ call, error: { status: error.status ?? null, text: error.body ?? error.message } })
  }
}

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line)
    if (command.call !== undefined) call(command)
    else if (command.do === "open") tabs.set(command.tab, new Tab(command.tab, command))
    else tabs.get(command.tab).perform(command)
  })
  .on("close", () => process.exit(0))
