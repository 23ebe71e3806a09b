-- The server, and whether a role that logs in here may write at all.
select current_setting('server_version') as version,
       pg_is_in_recovery() as standby,
       (select reset_val = 'on'
        from pg_show_all_settings()  -- pg_settings whoever may connect can lock
        where name = 'default_transaction_read_only') as read_only,
       current_user::text as role,
       current_database()::text as database
