// The plainest handler in JavaScript: what a component costs that brings a whole engine along. It reads its message as a
// handler of that language would; data that is JSON and has a field `reject` is rejected with it.

export const handler = {
  handle(delivery) {
    const { data, contentType } = delivery.message;
    if (contentType === "application/json") {
      const { reject } = JSON.parse(new TextDecoder().decode(data));
      if (reject !== undefined) throw { tag: "reject", val: String(reject) };
    }
  },
};
