-- Zones that an account ($1) read last with another key than this ($2, a digest), and those that
-- others read with this one; of each account as many as that.
select account, count(*) as zones
from syncer_store.zones
where gone_at is null and ((account = $1 and key_digest <> $2) or (account <> $1 and key_digest = $2))
group by account
order by account
