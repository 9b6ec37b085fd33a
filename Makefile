# Everything a day of work needs. `make` alone builds Broker and runs it.

.DEFAULT_GOAL := run
.PHONY: run test check client demo bench bench-peers load torture simulate release-check help

run: ## build (release) and run the server; ARGS="--port 9000" passes flags, FEATURES=rabbitmq adds the bridge
	@FEATURES="$(FEATURES)" scripts/run.sh $(ARGS)

test: ## run every test; what is missing for it is installed
	@scripts/test.sh

check: ## formatting, lints, dependencies, types, and whether the built page is current
	@scripts/check.sh

client: ## serve the page with live reload, against a running server
	@scripts/client.sh

demo: ## start a fresh server and feed it real data; SPEED=0 is as fast as it can
	@scripts/demo.sh

bench: ## measure, against floors measured in the same run
	@cargo build --locked --release --package broker --package broker-bench
	@"$${CARGO_TARGET_DIR:-target}/release/broker-bench" all

bench-peers: ## measure beside Redis, NATS, PocketBase and sled, which are installed; half an hour
	@scripts/bench-peers.sh $(ARGS)

load: ## live delivery to 10,000 beside nchan and Redis; ten minutes; ARGS="fan --seconds 1"
	@scripts/load.sh $(ARGS)

torture: ## do to the real binary what machines do, for an hour; DURATION=10m SEED=7 CAMPAIGNS="kill power"
	@scripts/torture.sh

simulate: ## live through new seeds of the simulation, in release; SECONDS_MAX=3600
	@BROKER_SIM_SECONDS=$(or $(SECONDS_MAX),600) cargo test --locked --release --lib simulation -- \
		--no-capture --test-threads 4

release-check: ## pack the crate and the npm packages, and install them into scratch projects
	@scripts/release-check.sh

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
