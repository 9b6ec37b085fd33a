import { type AuditPage, fetchPage, historyUrl } from "./audit";
import type { Received } from "./record";

export interface Entry {
  readonly record: Received;
  /** The version before it, to tell what changed; undefined for the first. */
  readonly before: Received | undefined;
}

/** Versions that may join live before the newest page is asked for again: the page stays small. */
const JOINED_MAX = 500;

/** The versions of one event, newest first: pages of the audit, and what the stream adds on top. */
export class History {
  #versions: readonly Received[] = [];
  #older: URL | undefined;
  #joined = 0;
  #isLoading = false;
  #newest: Received | undefined;
  error = "";

  constructor(
    private readonly base: URL,
    readonly event: string,
    readonly to: string | undefined,
    private readonly onChange: () => void,
    private readonly fetchAudit: (url: URL) => Promise<AuditPage> = fetchPage,
  ) {}

  get hasOlder(): boolean {
    return this.#older !== undefined;
  }

  get isLoading(): boolean {
    return this.#isLoading;
  }

  /** Where older versions exist, the oldest held is only there to be compared with. */
  get entries(): Entry[] {
    const shown = this.hasOlder ? this.#versions.slice(0, -1) : this.#versions;
    return shown.map((record, at) => ({ record, before: this.#versions[at + 1] }));
  }

  load(): Promise<void> {
    return this.#take(historyUrl(this.base, this.event, this.to), (page) => {
      this.#versions = page.records;
      this.#joined = 0;
    });
  }

  async loadOlder(): Promise<void> {
    if (this.#older === undefined) return;
    await this.#take(this.#older, (page) => {
      this.#versions = [...this.#versions, ...page.records];
    });
  }

  /** The stream told this newest version; a gap below it is filled from the audit. */
  follow(newest: Received): void {
    this.#newest = newest;
    if (!this.#isLoading) this.#catchUp();
  }

  async #take(url: URL, use: (page: AuditPage) => void): Promise<void> {
    if (this.#isLoading) return;
    this.#isLoading = true;
    this.onChange();
    try {
      const page = await this.fetchAudit(url);
      this.error = "";
      use(page);
      this.#older = page.older;
    } catch (error) {
      this.error = (error as Error).message;
    }
    this.#isLoading = false;
    if (this.error === "") this.#catchUp();
    this.onChange();
  }

  #catchUp(): void {
    const top = this.#versions[0];
    const newest = this.#newest;
    if (newest === undefined || (top !== undefined && newest.version <= top.version)) return;
    const isNext = newest.version === (top?.version ?? 0) + 1;
    if (!isNext || this.#joined >= JOINED_MAX) {
      void this.load();
      return;
    }
    this.error = "";
    this.#versions = [newest, ...this.#versions];
    this.#joined += 1;
    this.onChange();
  }
}
