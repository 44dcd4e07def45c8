"""The agent.toml to begin with: every setting, with what it means. Tests read it back."""

FIRST = """\
# What `openmsi run agent.toml` does. `openmsi config check agent.toml` says it in words.
# A # at the beginning of a line makes it a comment: take it away where you want the setting.
# Paths of Windows stand between ' quotes. A path that is not absolute begins where this file is.
# A text that begins with $ is taken from the environment.

[kafka]
bootstrap_servers = 'localhost:9092'    # the brokers, as HOST:PORT, separated by commas

# How to log in: settings of librdkafka, as the people who run the broker tell you.
[kafka.client]
# security.protocol = 'SASL_SSL'
# sasl.mechanism = 'SCRAM-SHA-512'
# sasl.username = 'microscope-3'
# sasl.password = { file = 'password.txt' }    # or '$VARIABLE', or { keyring = 'microscope-3' }
# ssl.ca.location = '/etc/ssl/lab-ca.pem'

# Send every file that appears in a directory. There may be any number of these.
[[watch]]
directory = 'data'
topic = 'files'
# prefix = 'sem-3'            # put the files under this path in the topic
# include = ['*.csv']         # send only what matches, as in .gitignore
# exclude = ['test/']         # do not send what matches
# settle = 2.0                # seconds without change after which a file is done
# new_only = true             # leave alone what is there at the first start
# growing = true              # send files while they are written
# after = 'keep'              # what to do with sent files: keep, delete, or move:DIRECTORY
# chunk_size = 524288         # bytes of a file in one record; by default what fits the topic
# max_rate = 2.5              # at most so many MB a second, on average
# format = 'native'           # openmsi-9 and openmsi-10: for the programs of OpenMSI

# Rebuild the files of a topic in a directory. There may be any number of these too.
# [[download]]
# directory = 'repository'
# topic = 'files'
# group = 'analysis'          # those with the same group share the files; by default all arrive
# stale_after = 86400         # seconds until an unfinished file holds nothing back any more

# What concerns all of it.
[agent]
# name = 'microscope-3'       # in heartbeats; by default the name of this computer
# state_dir = 'state'         # what was sent and received; a local disk
# low_priority = true         # let every other program on this computer go first
# log = 'json'                # 'plain' for people, 'json' for programs
# log_file = 'agent.log'      # by default standard output. Rotated at 10 MiB, 5 old ones are kept
# metrics_port = 9464         # numbers for Prometheus at http://127.0.0.1:9464/metrics
# heartbeat_topic = 'beats'   # tell this topic how the agent is
# heartbeat_seconds = 60
"""
