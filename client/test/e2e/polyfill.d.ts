declare module "event-source-polyfill" {
  export class EventSourcePolyfill {
    constructor(url: string);
    addEventListener(type: string, run: (event: MessageEvent) => void): void;
    close(): void;
  }
}
