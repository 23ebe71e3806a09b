-- The extension that the exclusion constraint needs: installed here, or to be had (no row: neither).
select installed_version, default_version
from pg_available_extensions
where name = 'btree_gist'
