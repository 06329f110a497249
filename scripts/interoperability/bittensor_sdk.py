"""The Bittensor SDK against a localnet: connects, reads the subnet, writes a commitment and weights, and reads both back.

Usage: bittensor_sdk.py ENDPOINT. The localnet has subnet 1, owned by //Alice, with //Bob as a validator and //Charlie as a miner.
Prints one JSON object; exits with 1 and the reason when something is not as it should be.
"""

import asyncio
import json
import sys
from importlib.metadata import version

import bittensor
from bittensor import calls
from bittensor.sp_core import Keypair

NETUID = 1
RECORD = b"interoperability"


class Wallet:
    """What the SDK needs of a wallet, around one development key."""

    def __init__(self, uri):
        self.coldkey = self.coldkeypub = self.hotkey = self.hotkeypub = Keypair.create_from_uri(uri)


def check(condition, message):
    if not condition:
        raise AssertionError(message)


async def main(endpoint):
    owner, validator, miner = (Wallet(uri) for uri in ("//Alice", "//Bob", "//Charlie"))
    async with bittensor.Subtensor(endpoint) as client:
        metagraph = await client.read("metagraph", netuid=NETUID)
        check(metagraph["owner_hotkey"] == owner.hotkey.ss58_address, f"owner: {metagraph['owner_hotkey']}")
        neurons = await client.read("neurons", netuid=NETUID)
        hotkeys = [neuron.hotkey for neuron in neurons]
        check(hotkeys == [wallet.hotkey.ss58_address for wallet in (owner, validator, miner)], f"neurons: {hotkeys}")
        permits = [neuron.validator_permit for neuron in neurons]
        check(permits == [False, True, False], f"permits: {permits}")

        info = {"fields": [{f"Raw{len(RECORD)}": "0x" + RECORD.hex()}]}
        sent = await client.submit_call(calls.Commitments.set_commitment(NETUID, info), miner, signer="hotkey")
        check(sent.success, f"the commitment: {sent}")
        commitment = await client.read("commitment", netuid=NETUID, hotkey_ss58=miner.hotkey.ss58_address)
        check(commitment.data == RECORD.decode(), f"the commitment read back: {commitment}")
        listed = await client.read("commitments", netuid=NETUID)
        check([row["hotkey"] for row in listed] == [miner.hotkey.ss58_address], f"commitments: {listed}")

        # Its own SetWeights reads storage that runtime 393 does not have; the call itself is the same.
        call = calls.SubtensorModule.set_weights(netuid=NETUID, dests=[0, 2], weights=[1, 3], version_key=0)
        weighed = await client.submit_call(call, validator, signer="hotkey")
        check(weighed.success, f"the weights: {weighed}")
        rows = await client.query(bittensor.storage.SubtensorModule.Weights, [NETUID, 1])
        check([list(row) for row in rows] == [[0, 21845], [2, 65535]], f"the weights read back: {rows}")

        refused = await client.submit_call(calls.Commitments.set_commitment(NETUID, info), Wallet("//Dave"), signer="hotkey")
        check(not refused.success and "AccountNotAllowedCommit" in str(refused), f"a stranger's commitment: {refused}")
        return {"client": f"bittensor {version('bittensor')}", "block": commitment.block, "specVersion": await client.spec_version()}


print(json.dumps(asyncio.run(main(sys.argv[1]))))
