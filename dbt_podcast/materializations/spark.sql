{#-
    How tables come about on Spark without a table format that can delete or merge: in Parquet, a table is written beside
    what is there and put in its place, and of a table in partitions by day those days only in which rows come or go.
-#}

{#- Of the tables that grow with every event: the column that a partition has one day of, and the time it is the day of. -#}
{% macro spark_day_of(name) -%}
    {{ return({
        "validated_events": {"column": "partition_day", "time": "load_at"},
        "cleansed_events": {"column": "partition_day", "time": "timestamp"},
        "fact_user_interactions": {"column": "event_date"},
        "fact_listens": {"column": "event_date"},
        "episode_daily": {"column": "event_date"},
        "listener_daily": {"column": "event_date"},
    }.get(name)) }}
{%- endmacro %}


{% materialization table, adapter="spark" %}
    {%- set target_relation = this.incorporate(type="table") -%}
    {% do spark_take_up(target_relation) %}
    {{ run_hooks(pre_hooks) }}
    {% do spark_make_anew(target_relation, spark_as_contracted(sql)) %}
    {{ run_hooks(post_hooks) }}
    {{ return({"relations": [target_relation]}) }}
{% endmaterialization %}


{% materialization incremental, adapter="spark" %}
    {%- set target_relation = this.incorporate(type="table") -%}
    {% do spark_take_up(target_relation) %}
    {{ run_hooks(pre_hooks) }}
    {%- if load_relation(this) is none or should_full_refresh() %}
    {% do spark_make_anew(target_relation, spark_as_contracted(sql)) %}
    {%- else %}
    {% do spark_replace_rows(target_relation, sql) %}
    {%- endif %}
    {{ run_hooks(post_hooks) }}
    {{ return({"relations": [target_relation]}) }}
{% endmaterialization %}


{#- As dbt's own, which needs a merge: versions that ended get their end, new ones are added. -#}
{% materialization snapshot, adapter="spark" %}
    {%- set target_relation = this.incorporate(type="table") -%}
    {% do spark_take_up(target_relation) %}
    {{ run_hooks(pre_hooks) }}
    {%- set held = load_relation(this) -%}
    {%- set is_held = held is not none -%}
    {%- set strategy = strategy_dispatch(config.get("strategy"))(model, "snapshotted_data", "source_data", model["config"], is_held) -%}
    {%- if is_held %}
    {%- set changes = spark_staged(target_relation, snapshot_staging_table(strategy, sql, held)) -%}
    {%- set columns = adapter.get_columns_in_relation(held) | map(attribute="name") | list -%}
    {% do spark_make_anew(target_relation, spark_with_ended_versions(held, changes, columns)) %}
    {% do adapter.drop_relation(changes) %}
    {%- else %}
    {% do spark_make_anew(target_relation, build_snapshot_table(strategy, sql)) %}
    {%- endif %}
    {{ run_hooks(post_hooks) }}
    {{ return({"relations": [target_relation]}) }}
{% endmaterialization %}

{% macro spark_with_ended_versions(held, changes, columns) -%}
    select
        {%- for column in columns %}
        {% if column == "dbt_valid_to" %}coalesce(ended.dbt_valid_to, held.dbt_valid_to) as dbt_valid_to{% else %}held.{{ column }}{% endif %}
        {{- "," if not loop.last }}
        {%- endfor %}
    from {{ held }} as held
    left join {{ changes }} as ended
        on held.dbt_scd_id = ended.dbt_scd_id
        and held.dbt_valid_to is null
        and ended.dbt_change_type in ('update', 'delete')
    union all
    select {{ columns | join(", ") }}
    from {{ changes }}
    where dbt_change_type = 'insert'
{%- endmacro %}


{#- The SQL of a model, with the columns that its contract says; raises where they are others. -#}
{% macro spark_as_contracted(sql) -%}
    {%- if config.get("contract").enforced -%}
    {{ get_assert_columns_equivalent(sql) }}
    {{ return(get_select_subquery(sql)) }}
    {%- endif -%}
    {{ return(sql) }}
{%- endmacro %}

{#- The types of contracts are as DuckDB calls them. -#}
{% macro spark__get_empty_schema_sql(columns) -%}
    {%- set types = {"varchar": "string", "ubigint": "bigint", "timestamp": "timestamp_ntz"} -%}
    select
        {%- for column in columns.values() %}
        cast(null as {{ types.get(column["data_type"], column["data_type"]) }}) as {{ adapter.quote(column["name"]) }}{{ "," if not loop.last }}
        {%- endfor %}
{%- endmacro %}


{#- Write a table beside what is there, and put it in its place: whoever reads has the one or the other. -#}
{% macro spark_make_anew(target_relation, sql) -%}
    {%- set next = spark_beside(target_relation, "__next") -%}
    {%- set before = spark_beside(target_relation, "__before") -%}
    {% do spark_create(next, sql, spark_day_of(target_relation.identifier), statement_name="main") %}
    {% do adapter.drop_relation(before) %}
    {%- set held = load_relation(target_relation) -%}
    {%- if held is not none and held.is_view %}
    {% do adapter.drop_relation(held) %}
    {%- elif held is not none %}
    {% do adapter.rename_relation(held, before) %}
    {%- endif %}
    {% do adapter.rename_relation(next, target_relation) %}
    {% do adapter.drop_relation(before) %}
{%- endmacro %}

{#-
    What was cut off between the two renamings is taken up: the table is what it was before. Its model has been compiled as if
    there were none, so that this build ends here.
-#}
{% macro spark_take_up(target_relation) -%}
    {%- set before = load_relation(spark_beside(target_relation, "__before")) -%}
    {%- if before is not none and load_relation(target_relation) is none %}
    {% do adapter.rename_relation(before, target_relation) %}
    {% do exceptions.raise_compiler_error(target_relation ~ " was about to be replaced when a build ended; it is what it was before. Build again.") %}
    {%- endif %}
{%- endmacro %}

{% macro spark_beside(relation, suffix) -%}
    {{ return(relation.incorporate(path={"identifier": relation.identifier ~ suffix}, type="table")) }}
{%- endmacro %}

{#- What a query gives, in a table of its own, since it may read what is about to be written. -#}
{% macro spark_staged(target_relation, sql) -%}
    {%- set staged = spark_beside(target_relation, "__new") -%}
    {% do spark_create(staged, sql, none, statement_name="staged") %}
    {{ return(staged) }}
{%- endmacro %}

{% macro spark_create(relation, sql, day, statement_name) -%}
    {% do adapter.drop_relation(relation) %}
    {%- call statement(statement_name) %}
    create table {{ relation }} using parquet
    {%- if day %}
    partitioned by ({{ day.column }}) as
    select /*+ rebalance({{ day.column }}) */ *
    from ({{ spark_with_day(sql, day) }}) as by_day
    {%- else %} as
    {{ sql }}
    {%- endif %}
    {%- endcall %}
{%- endmacro %}

{#-
    By table, given with its columns, the statement that fills it; `{rows}` in it stands for what all rows are read from, which
    has every column but `partition_day`. A table without partitions has that where a model takes all columns of another;
    nothing reads it there.
-#}
{% macro spark_fillings(tables) -%}
    {%- set fillings = {} -%}
    {%- for name, columns in tables.items() %}
    {%- do fillings.update({name: spark_filling(name, columns, spark_day_of(name.split(".")[1]))}) -%}
    {%- endfor %}
    {{ return(fillings) }}
{%- endmacro %}

{% macro spark_filling(name, columns, day) -%}
    {%- set rows = "select *" ~ (", cast(null as date) as partition_day" if "partition_day" in columns and not day) ~ " from {rows}" -%}
    insert overwrite table {{ name }}{{ " partition (" ~ day.column ~ ")" if day }}
    select {{ "/*+ rebalance(" ~ day.column ~ ") */ " if day }}{{ columns | join(", ") }}
    from ({{ spark_with_day(rows, day) if day else rows }}) as filling
{%- endmacro %}

{% macro spark_with_day(sql, day) -%}
    {%- if day.time -%}
    select
        *,
        cast({{ day.time }} as date) as {{ day.column }}
    from ({{ sql }}) as without_day
    {%- else -%}
    {{ sql }}
    {%- endif -%}
{%- endmacro %}


{#- The rows that the strategy says leave, and those that the model gives come. -#}
{% macro spark_replace_rows(target_relation, sql) -%}
    {%- set day = spark_day_of(target_relation.identifier) -%}
    {%- set staged = spark_staged(target_relation, spark_with_day(sql, day) if day else sql) -%}
    {% do process_schema_changes(config.get("on_schema_change", "ignore"), staged, target_relation) %}
    {%- set columns = adapter.get_columns_in_relation(target_relation) | map(attribute="quoted") | list -%}
    {%- set leaves = leaves_by(config.get("incremental_strategy"), config.get("unique_key")) or "false" -%}
    {%- if day %}
    {% do spark_rewrite_days(target_relation, staged, columns, leaves, day.column) %}
    {%- else %}
    {% do spark_make_anew(target_relation, spark_stay_and_come(target_relation, staged, columns, spark_stays(leaves))) %}
    {%- endif %}
    {% do adapter.drop_relation(staged) %}
{%- endmacro %}

{#-
    That a row does not leave. As a bare `not` over `in (select ...)`, which also has to tell what is unknown, Spark would
    compare every row with every one that is looked up; this one it joins by a hash.
-#}
{% macro spark_stays(leaves) -%}
    not coalesce({{ leaves }}, false)
{%- endmacro %}

{% macro spark_stay_and_come(target_relation, staged, columns, stays) -%}
    select held.{{ columns | join(", held.") }}
    from {{ target_relation }} as held
    where {{ stays }}
    union all
    select {{ columns | join(", ") }}
    from {{ staged }}
{%- endmacro %}

{#-
    The days in which rows come or go are read again and written anew. Overwriting leaves alone a day for which no row is
    written: a day that lost its last row is dropped.
-#}
{% macro spark_rewrite_days(target_relation, staged, columns, leaves, day) -%}
    {%- set come = "select " ~ day ~ " from " ~ staged -%}
    {%- set held = "select held." ~ day ~ " from " ~ target_relation ~ " as held where " -%}
    {%- set days = spark_days(held ~ leaves ~ " union all " ~ come) -%}
    {%- set stays = "held." ~ day ~ " in (" ~ days | join(", ") ~ ") and " ~ spark_stays(leaves) -%}
    {%- set kept = spark_days(held ~ stays ~ " union all " ~ come) if days else [] -%}
    {%- call statement("main") %}
    {%- if kept %}
    insert overwrite table {{ target_relation }} partition ({{ day }})
    select /*+ rebalance({{ day }}) */ *
    from ({{ spark_stay_and_come(target_relation, staged, columns, stays) }}) as by_day
    {%- else %}
    select 1 where false
    {%- endif %}
    {%- endcall %}
    {%- for emptied in days if emptied not in kept %}
    {% do run_query("alter table " ~ target_relation ~ " drop if exists partition (" ~ day ~ " = " ~ emptied ~ ")") %}
    {%- endfor %}
{%- endmacro %}

{#- The distinct days that a query gives, as literals. -#}
{% macro spark_days(query) -%}
    {%- set literals = [] -%}
    {%- for (day,) in run_query("select distinct * from (" ~ query ~ ") as days order by 1").rows %}
    {%- do literals.append("date '" ~ day ~ "'") -%}
    {%- endfor %}
    {{ return(literals) }}
{%- endmacro %}
