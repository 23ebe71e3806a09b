-- Work as the schema's owner, where we may and all in it is the owner's: so is what an upgrade adds,
-- and what syncer_writer and syncer_reader may do goes on.
select set_config('role', pg_get_userbyid(n.nspowner), false)
from pg_namespace as n
where n.nspname = 'syncer_store' and pg_get_userbyid(n.nspowner) <> current_user
  and pg_has_role(n.nspowner, case when current_setting('server_version_num')::integer >= 160000
                                   then 'set' else 'member' end)
  and not exists (
      select from pg_namespace as o
      where o.nspname in ('syncer', 'syncer_store')
        and (o.nspowner <> n.nspowner
             or exists (select from pg_class as c
                        where c.relnamespace = o.oid and c.relowner <> n.nspowner)
             or exists (select from pg_proc as p
                        where p.pronamespace = o.oid and p.proowner <> n.nspowner
                          and not exists (  -- but of an extension
                              select from pg_depend as d
                              where d.classid = 'pg_proc'::regclass and d.objid = p.oid
                                and d.deptype = 'e'))))
